"""What one seed means: accounts, audiences, their contacts, how unkind the world is. Records; `draw` makes them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from random import Random

from importer_pipeline.engine.audience_plan import AudiencePlan, SnapshotScope
from importer_pipeline.engine.services import SyncLimits
from importer_pipeline.listing.coverage import Paging
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.mailchimp.client import MailchimpClient
from importer_pipeline.records.contacts import RecordMapping
from importer_pipeline.runner.workers import AudienceEndpoints
from importer_pipeline.sandbox.compare import RecordOf
from importer_pipeline.sandbox.core import Sandbox
from importer_pipeline.sandbox.faults import FaultPlan
from importer_pipeline.sandbox.members import Member, MemberList
from importer_pipeline.sandbox.target import Refusal, SandboxTarget, TargetRecord
from importer_pipeline.target.client import TargetClient

START = 1_700_000_000.0
LATE_SECONDS = 240
"""How far in the past a late commit may be stamped."""

JUMP_SECONDS = 100
"""How far a Date may be from the clock that stamps contacts. More, with late commits, is not covered by the look back."""


class Clock:
    """Epoch seconds that move when told."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        """The time."""
        return self.now


@dataclass(frozen=True, eq=False, kw_only=True)
class Source:
    """A list that an audience may be read from."""

    list_id: str
    members: MemberList
    touched: dict[int, float] = field(default_factory=dict[int, float])
    """When each member was last changed, by serial: the moment itself, not the stamp."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Sink:
    """A target that an audience may be written to."""

    url: str
    """As plans name it."""
    key: str
    target: SandboxTarget
    line: TargetClient
    refusals: tuple[Refusal, ...]
    """What it refuses, misfortunes apart."""


@dataclass(eq=False, kw_only=True)
class World:
    """One audience as the clients file has it now, and all that it is read from and written to.

    Attributes:
        plan: what the engine has to know of it, without what is to be read.
        lines: what its requests are made with.
        record_of: what its target must hold of a member.
    """

    name: AudienceName
    account: str
    """Of the sandbox."""
    account_connections: int
    account_line: MailchimpClient
    spec: Mapping[str, str]
    """Its record mapping."""
    usual_record_of: RecordOf
    """What that makes of a member."""
    source: Source
    sink: Sink
    is_swapped: bool = False
    """Whether its mapping is the other one, which takes last names for first ones."""
    other_sources: tuple[Source, ...] = ()
    """Lists that the clients file may name instead, now or earlier; of the same account."""
    other_sinks: tuple[Sink, ...] = ()
    """Targets that it may name instead."""

    def __post_init__(self) -> None:
        self.point()

    def point(self, *, source: Source | None = None, sink: Sink | None = None, is_swapped: bool | None = None) -> None:
        """The clients file names another list, target or mapping from now on, or the one before again."""
        self.source = source or self.source
        self.sink = sink or self.sink
        self.is_swapped = self.is_swapped if is_swapped is None else is_swapped
        list_id, spec = self.source.list_id, dict(self.spec)
        self.record_of = self.usual_record_of
        if self.is_swapped:
            spec |= {"firstname": spec["lastname"], "lastname": spec["firstname"]}
            self.record_of = _swapped(self.usual_record_of)
        self.plan = AudiencePlan(
            name=self.name,
            account=self.account,
            account_connections=self.account_connections,
            target=self.sink.url,
            fingerprint=f"{list_id} to {self.sink.target.name}{' with its names swapped' * self.is_swapped}",
            scope=SnapshotScope(earlier=None, wanted=None),
            quarantined=frozenset(),
        )
        mapping = RecordMapping.of(spec, list_id=list_id)
        self.lines = AudienceEndpoints(
            account=self.account_line, list_id=list_id, mapping=mapping, target=self.sink.line
        )

    @property
    def members(self) -> MemberList:
        """The contacts of its list."""
        return self.source.members

    @property
    def target(self) -> SandboxTarget:
        """Where they have to be."""
        return self.sink.target

    @property
    def touched(self) -> dict[int, float]:
        """When each of them was last changed."""
        return self.source.touched


def _swapped(record_of: RecordOf) -> RecordOf:
    def swapped(member: Member, members: MemberList) -> TargetRecord | None:
        record = record_of(member, members)
        return record and record._replace(firstname=record.lastname, lastname=record.firstname)

    return swapped


class Misfortune(Enum):
    """What may befall a client. All but a revoked key pass."""

    REVOKED = "its key is refused"
    LIST_GONE = "one of its lists is not known"
    OUTAGE = "its account answers nothing but 500"
    TAKEN = "all ten connections of its account are in use"
    TARGET_DOWN = "its target answers nothing but 500"
    TARGET_REVOKED = "its target refuses the key"
    TARGET_REFUSES = "its target refuses every record"


@dataclass(eq=False, kw_only=True)
class Scenario:
    """Everything that one seed decides before the first request."""

    rng: Random
    clock: Clock
    sandbox: Sandbox
    worlds: list[World]
    paging: Paging
    limits: SyncLimits
    changes: float
    """Probability of a change between two steps."""
    faults: FaultPlan
    target_faults: FaultPlan
    misfortune: Misfortune | None
    """What befalls the last client in the middle of a sync."""
    is_calm: bool
    """Nothing changes, nothing fails, and no two contacts share a second: then the number of requests is known."""
    is_crowded: bool
    """All contacts share one second, and they leave it while it is read."""
    page_limit: int | None
    """Pages of more contacts time out, if set."""
    lies: float
    """Probability that a page is not what was asked for: unsorted, out of bounds, too short."""
    runs: int
    """How many there are before the source comes to rest."""
    deaths: float
    """Probability that the process dies between two steps, or between two reports."""
    by_hand: float
    """Probability that a run is of single windows."""
    is_awake: bool = True
    """Whether its dimensions begin and end things; not once the source has come to rest."""
    dimensions: "dict[str, Dimension]" = field(default_factory=dict[str, "Dimension"])
    """What else is wide about this world, by name: see `worlds`."""

    @property
    def at_once(self) -> int:
        """How many jobs are launched at once."""
        return 2 if "two at once" in self.dimensions else 1

    @property
    def max_connections(self) -> dict[str, int]:
        """Connections that each account bears."""
        return {world.account: world.account_connections for world in self.worlds}

    def is_unreadable(self, world: World, member: Member, *, ever: bool) -> bool:
        """Tell whether nobody can read the member now, or could not at some time."""
        return any(it.unreadable(world, member, ever=ever) for it in self.dimensions.values())

    def is_refused(self, world: World, record: TargetRecord, *, ever: bool) -> bool:
        """Tell whether the target does not take the record, whatever it says, now or at some time."""
        return world.target.refuses(record) or any(
            it.undeliverable(world, record, ever=ever) for it in self.dimensions.values()
        )


class Dimension:
    """A way for a world to be wide, drawn by itself. Each of its hooks may be left as it is.

    Args:
        scenario: the scenario that it belongs to.
        rng: its own chance, so that no dimension changes what another draws.
    """

    def __init__(self, scenario: Scenario, rng: Random) -> None:
        self.scenario = scenario
        self.rng = rng

    def step(self) -> None:
        """Something may begin or end between two steps of a process."""

    def pause(self) -> None:
        """Something may begin or end between two runs."""

    def heal(self) -> None:
        """The source comes to rest: what passes is over."""

    def at_rest(self) -> None:
        """All that was set to pass is over."""

    def unreadable(self, world: World, member: Member, *, ever: bool) -> bool:
        """Tell whether nobody can read the member now, or could not at some time."""
        return False

    def undeliverable(self, world: World, record: TargetRecord, *, ever: bool) -> bool:
        """Tell whether the target does not take the record now, or did not at some time, though it does not refuse it."""
        return False
