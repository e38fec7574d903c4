"""The scenario of one seed: accounts, audiences, contacts and faults of the world. Records; `draw` makes them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from random import Random

from importer_pipeline.engine.audience_plan import AudiencePlan, SnapshotScope, TargetRules
from importer_pipeline.engine.services import SyncLimits
from importer_pipeline.listing.coverage import Paging
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.mailchimp.client import MailchimpClient
from importer_pipeline.records.contacts import RecordMapping
from importer_pipeline.records.shapes import Shape, ShapedMapping
from importer_pipeline.runner.workers import AudienceEndpoints
from importer_pipeline.sandbox.compare import RecordOf
from importer_pipeline.sandbox.core import Sandbox
from importer_pipeline.sandbox.faults import FaultPlan
from importer_pipeline.sandbox.members import Member, MemberList
from importer_pipeline.sandbox.protocols import TargetRecord
from importer_pipeline.sandbox.target import Refusal, SandboxTarget
from importer_pipeline.target.protocol import Target

_NO_RULES = TargetRules()
START = 1_700_000_000.0
LATE_SECONDS = 240
"""Maximum age of the stamp of a late commit."""

JUMP_SECONDS = 100
"""Maximum distance of a Date from the clock that stamps contacts. The look-back covers no more, with late commits."""


class Clock:
    """A clock in epoch seconds that is moved by hand."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@dataclass(frozen=True, eq=False, kw_only=True)
class Source:
    """A list that an audience may be read from."""

    list_id: str
    members: MemberList
    touched: dict[int, float] = field(default_factory=dict[int, float])
    """Moment of the last change of each member, by serial: the real one, not the stamp."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Sink:
    """A target that an audience may be written to."""

    url: str
    """As plans name it."""
    key: str
    target: SandboxTarget
    line: Target
    refusals: tuple[Refusal, ...]
    """Its refusals apart from misfortunes."""
    rules: TargetRules = _NO_RULES
    """What it allows, as declared."""
    shape_of: "Callable[[Mapping[str, str]], Shape] | None" = None
    """Returns the declared form of records with these sources; None for the seed's record."""

    def mapping(self, spec: Mapping[str, str], list_id: str) -> RecordMapping | ShapedMapping:
        """Return the mapping of a list with these sources."""
        if self.shape_of is None:
            return RecordMapping.of(spec, list_id=list_id)
        return ShapedMapping.of(self.shape_of(spec), list_id=list_id)


@dataclass(eq=False, kw_only=True)
class World:
    """One audience as the clients file has it now, with its sources and sinks.

    Attributes:
        plan: its plan for the engine, without what is to be read.
        endpoints: the clients that make its requests.
        record_of: returns the record that its target must hold of a member.
    """

    name: AudienceName
    account: str
    """Its account in the sandbox."""
    account_connections: int
    account_line: MailchimpClient
    spec: Mapping[str, str]
    """Its record mapping."""
    usual_record_of: RecordOf
    """Returns the record that the mapping makes of a member."""
    source: Source
    sink: Sink
    is_swapped: bool = False
    """True if its mapping is the other one, which swaps first and last names."""
    other_sources: tuple[Source, ...] = ()
    """Lists of the same account that the clients file may name instead, now or earlier."""
    other_sinks: tuple[Sink, ...] = ()
    """Targets that the clients file may name instead."""

    def __post_init__(self) -> None:
        self.point()

    def point(self, *, source: Source | None = None, sink: Sink | None = None, is_swapped: bool | None = None) -> None:
        """Name another list, target or mapping in the clients file from now on, or the former one again."""
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
            target_rules=self.sink.rules,
        )
        mapping = self.sink.mapping(spec, list_id)
        self.endpoints = AudienceEndpoints(
            account=self.account_line, list_id=list_id, mapping=mapping, target=self.sink.line
        )

    @property
    def members(self) -> MemberList:
        """The contacts of its list."""
        return self.source.members

    @property
    def target(self) -> SandboxTarget:
        """The target where they must be."""
        return self.sink.target

    @property
    def touched(self) -> dict[int, float]:
        """The moment of the last change of each of them."""
        return self.source.touched


def _swapped(record_of: RecordOf) -> RecordOf:
    def swapped(member: Member, members: MemberList) -> TargetRecord | None:
        record = record_of(member, members)
        return record and record._replace(firstname=record.lastname, lastname=record.firstname)

    return swapped


class Misfortune(Enum):
    """A misfortune of a client. All but a revoked key pass."""

    REVOKED = "its key is refused"
    LIST_GONE = "one of its lists is unknown"
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
    """Strikes the last client in the middle of a sync."""
    is_calm: bool
    """True if nothing changes or fails, and no two contacts share a second: then the number of requests is known."""
    is_crowded: bool
    """True if all contacts share one second, and leave it while it is read."""
    page_limit: int | None
    """Pages of more contacts time out, if set."""
    lies: float
    """Probability that a page is not as requested: unsorted, out of bounds, too short."""
    runs: int
    """Number of runs before the source comes to rest."""
    deaths: float
    """Probability that the process dies between two steps, or between two reports."""
    by_hand: float
    """Probability that a run is of single windows."""
    is_awake: bool = True
    """True while its dimensions begin and end things; False once the source has come to rest."""
    dimensions: "dict[str, Dimension]" = field(default_factory=dict[str, "Dimension"])
    """Further dimensions of this world, by name: see `worlds`."""

    @property
    def at_once(self) -> int:
        """Number of jobs launched at once."""
        return 2 if "two at once" in self.dimensions else 1

    @property
    def max_connections(self) -> dict[str, int]:
        """Limit of connections of each account."""
        return {world.account: world.account_connections for world in self.worlds}

    def is_unreadable(self, world: World, member: Member, *, ever: bool) -> bool:
        """Return whether nobody can read the member now or, with `ever`, could not at some time."""
        return any(it.unreadable(world, member, ever=ever) for it in self.dimensions.values())

    def is_refused(self, world: World, record: TargetRecord, *, ever: bool) -> bool:
        """Return whether the target does not take the record, whatever it answers, now or at some time."""
        return world.target.refuses(record) or any(
            it.undeliverable(world, record, ever=ever) for it in self.dimensions.values()
        )


class Dimension:
    """A further kind of fault or change, drawn by itself. Subclasses override the hooks they need.

    Args:
        scenario: the scenario that it belongs to.
        rng: its own randomness, so that no dimension changes what another draws.
    """

    def __init__(self, scenario: Scenario, rng: Random) -> None:
        self.scenario = scenario
        self.rng = rng

    def step(self) -> None:
        """Begin or end something between two steps of a process."""

    def pause(self) -> None:
        """Begin or end something between two runs."""

    def heal(self) -> None:
        """End what passes: the source comes to rest."""

    def at_rest(self) -> None:
        """React to the end of everything that passes."""

    def unreadable(self, world: World, member: Member, *, ever: bool) -> bool:
        """Return whether nobody can read the member now, or could not at some time."""
        return False

    def undeliverable(self, world: World, record: TargetRecord, *, ever: bool) -> bool:
        """Return whether the target fails for the record, now or at some time, although it does not refuse it."""
        return False
