"""What one seed means: accounts, audiences, their contacts, how unkind the world is, and what happens in it meanwhile."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from random import Random
from typing import NamedTuple

from pydantic import SecretStr

from importer_pipeline.audience_plan import AudiencePlan, SnapshotScope
from importer_pipeline.contacts import DEFAULT_RECORD, RecordMapping
from importer_pipeline.mailchimp import Account, CredentialKind, Credentials, MailchimpLimits
from importer_pipeline.sandbox.accounts import SandboxAccount
from importer_pipeline.sandbox.adapter import SandboxAdapter
from importer_pipeline.sandbox.compare import RecordOf, default_record, record_by_list
from importer_pipeline.sandbox.core import Sandbox
from importer_pipeline.sandbox.faults import Fault, Unkindness
from importer_pipeline.sandbox.members import Member, MemberList
from importer_pipeline.sandbox.target import Manner, Refusal, SandboxTarget, TargetRecord
from importer_pipeline.services import SyncLimits
from importer_pipeline.snapshots import AudienceName
from importer_pipeline.target import Target, TargetLimits
from importer_pipeline.windows import Paging
from importer_pipeline.workers import Lines

START = 1_700_000_000.0
LATE_SECONDS = 240
"""How far in the past a late commit may be stamped."""

_FETCH_FAULTS = tuple(Fault)
_POST_FAULTS = (Fault.ERROR_500, Fault.TOO_MANY_REQUESTS, Fault.CUT, Fault.RESET, Fault.BROKEN_JSON, Fault.HANG)


class Clock:
    """Epoch seconds that move when told."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        """The time."""
        return self.now


class Mapped(NamedTuple):
    """A mapping, and what it makes of a member."""

    mapping: RecordMapping
    record_of: RecordOf
    fingerprint: str


@dataclass(eq=False, kw_only=True)
class World:
    """One audience and all that it is read from and written to."""

    plan: AudiencePlan
    lines: Lines
    members: MemberList
    target: SandboxTarget
    target_key: str
    record_of: RecordOf
    other: "Mapped"
    """What the clients file may say of its records instead."""
    refusals: tuple[Refusal, ...] = ()
    """What its target refuses, misfortunes apart."""
    touched: dict[int, float] = field(default_factory=dict[int, float])
    """When each member was last changed, by serial: the moment itself, not the stamp."""


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
    unkind: Unkindness
    unkind_target: Unkindness
    misfortune: "Misfortune | None"
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

    @property
    def max_connections(self) -> dict[str, int]:
        """Connections that each account bears."""
        return {world.plan.account: world.plan.account_connections for world in self.worlds}


def draw(seed: int) -> Scenario:
    """The scenario of a seed."""
    rng, clock = Random(seed), Clock()
    sandbox = Sandbox(clock=clock, seed=seed)
    kind = rng.random()
    is_calm, is_crowded = kind < 0.12, 0.12 <= kind < 0.2
    overlap = rng.choice((2, 3))
    page_limit = rng.choice((None, None, None, 6))
    scenario = Scenario(
        rng=rng,
        clock=clock,
        sandbox=sandbox,
        worlds=[],
        paging=Paging(page_size=7 if overlap == 2 else 9, overlap=overlap),
        limits=SyncLimits(
            connections=rng.randint(2, 14),
            target_posts=rng.randint(1, 4),
            undelivered_pages=rng.randint(1, 6),
            post_records=rng.choice((4, 14, 1000)),
            isolation_posts=rng.choice((6, 64)),
        ),
        changes=0.0 if is_calm else rng.choice((0.0, 0.05, 0.2, 0.5)),
        unkind=Unkindness(page_limit=page_limit)
        if is_calm
        else Unkindness(rates=_rates(rng, _FETCH_FAULTS), page_limit=page_limit),
        unkind_target=Unkindness()
        if is_calm
        else Unkindness(rates=_rates(rng, _POST_FAULTS), rates_after_storing=_rates(rng, _POST_FAULTS)),
        misfortune=None,
        is_calm=is_calm,
        is_crowded=is_crowded,
        page_limit=page_limit,
        lies=0.0 if is_calm else rng.choice((0.0, 0.0, 0.02, 0.1)),
        runs=rng.randint(1, 4),
        deaths=rng.choice((0.0, 0.005, 0.02, 0.1)),
        by_hand=rng.choice((0.0, 0.0, 0.3, 0.6)),
    )
    for number in range(1 if is_calm else rng.choice((1, 1, 1, 2, 3))):
        _add_client(scenario, f"client{number}")
    if not is_calm and rng.random() < 0.2:
        scenario.misfortune = rng.choice(tuple(Misfortune))
    return scenario


class Misfortune(Enum):
    """What may befall a client. All but a revoked key pass."""

    REVOKED = "its key is refused"
    LIST_GONE = "one of its lists is not known"
    OUTAGE = "its account answers nothing but 500"
    TAKEN = "all ten connections of its account are taken"
    TARGET_DOWN = "its target answers nothing but 500"
    TARGET_REVOKED = "its target refuses the key"
    TARGET_REFUSES = "its target refuses every record"


def befall(scenario: Scenario) -> None:
    """The misfortune of the scenario strikes its last client."""
    world = scenario.worlds[-1]
    account, target = scenario.sandbox.accounts[world.plan.account], world.target
    match scenario.misfortune:
        case Misfortune.REVOKED:
            account.secrets.clear()
        case Misfortune.LIST_GONE:
            account.lists.pop(world.members.list_id, None)
        case Misfortune.OUTAGE:
            account.unkindness = Unkindness(rates={Fault.ERROR_500: 1.0})
        case Misfortune.TAKEN:
            account.unkindness = Unkindness(rates={Fault.TOO_MANY_REQUESTS: 1.0})
        case Misfortune.TARGET_DOWN:
            target.unkindness = Unkindness(rates={Fault.ERROR_500: 1.0})
        case Misfortune.TARGET_REVOKED:
            target.api_key = "another"
        case Misfortune.TARGET_REFUSES:
            target.refusals = (Refusal(manner=Manner.REJECT, refuses=lambda _: True),)
        case None:
            pass


def recover(scenario: Scenario) -> None:
    """What passes is over."""
    world = scenario.worlds[-1]
    world.target.api_key, world.target.refusals = world.target_key, world.refusals
    scenario.sandbox.accounts[world.plan.account].lists.setdefault(world.members.list_id, world.members)


def _rates(rng: Random, faults: tuple[Fault, ...]) -> dict[Fault, float]:
    chosen = [fault for fault in faults if rng.random() < 0.4]
    most = rng.choice((0.0, 0.02, 0.1, 0.25))
    return {fault: most / max(len(chosen), 1) for fault in chosen}


def _add_client(scenario: Scenario, name: str) -> None:
    rng, sandbox = scenario.rng, scenario.sandbox
    key, target_key = f"{rng.getrandbits(128):032x}-us1", f"target-{rng.getrandbits(64):016x}"
    account = sandbox.add_account(
        name, api_key=key, clock_offset_seconds=0.0 if scenario.is_calm else rng.choice((0.0, 0.0, 3.0, 600.0, -600.0))
    )
    target = sandbox.add_target(target_key, name=name)
    adapter = SandboxAdapter(sandbox, sleep=lambda _: None)
    ours = Account(
        Credentials(kind=CredentialKind.API_KEY, secret=SecretStr(key)),
        base_url="http://sandbox/3.0",
        limits=MailchimpLimits(),
        adapter=adapter,
    )
    to = Target("http://sandbox/target", SecretStr(target_key), limits=TargetLimits(), adapter=adapter)
    connections = rng.randint(1, 10)
    audiences = rng.choice((1, 1, 2))
    for number in range(audiences):
        list_id = f"{name}list{number}"
        spec = dict(DEFAULT_RECORD) if audiences == 1 else {**DEFAULT_RECORD, "id": "{list_id}-{id}"}
        scenario.worlds.append(
            World(
                plan=AudiencePlan(
                    name=AudienceName(name, f"audience{number}"),
                    account=name,
                    account_connections=connections,
                    target="http://sandbox/target" if rng.random() < 0.5 else f"http://sandbox/{name}",
                    fingerprint=list_id,
                    scope=SnapshotScope(standing=None, wanted=None),
                    quarantined=frozenset(),
                ),
                lines=Lines(account=ours, list_id=list_id, mapping=RecordMapping.of(spec, list_id=list_id), target=to),
                members=_members(scenario, account, list_id),
                target=target,
                target_key=target_key,
                record_of=default_record if audiences == 1 else record_by_list,
                other=Mapped(
                    RecordMapping.of(
                        {**spec, "firstname": spec["lastname"], "lastname": spec["firstname"]}, list_id=list_id
                    ),
                    _swapped(default_record if audiences == 1 else record_by_list),
                    f"{list_id} with its names swapped",
                ),
            )
        )
    if not scenario.is_calm:
        target.refusals = tuple(_refusals(rng))
        for world in scenario.worlds[-audiences:]:
            world.refusals = target.refusals


def _swapped(record_of: RecordOf) -> RecordOf:
    def swapped(member: Member, members: MemberList) -> TargetRecord | None:
        record = record_of(member, members)
        return record and record._replace(firstname=record.lastname, lastname=record.firstname)

    return swapped


def edit(world: World) -> None:
    """The clients file maps its contacts otherwise from now on, or as before again."""
    before = Mapped(world.lines.mapping, world.record_of, world.plan.fingerprint)
    world.lines = replace(world.lines, mapping=world.other.mapping)
    world.plan = replace(world.plan, fingerprint=world.other.fingerprint)
    world.record_of, world.other = world.other.record_of, before


def _members(scenario: Scenario, account: SandboxAccount, list_id: str) -> MemberList:
    rng = scenario.rng
    members = account.add_list(list_id, ties=rng.choice(("drawn", "stable")))
    size = (
        rng.randint(15, 40) if scenario.is_crowded else rng.choice((0, 1, 6, 7, 8, 9, 13, 14, 15, rng.randint(0, 90)))
    )
    newest = int(START + account.clock_offset_seconds) - 200
    spread = size * 3 if scenario.is_calm else (1 if scenario.is_crowded else rng.choice((1, 5, size + 1, size * 3)))
    seconds = range(newest - spread, newest)
    stamps = rng.sample(seconds, size) if scenario.is_calm else rng.choices(seconds, k=size)
    for number, at in enumerate(stamps):
        status = "archived" if rng.random() < 0.2 else rng.choice(("subscribed", "unsubscribed", "cleaned"))
        # Contacts without an address share one id, so that a crowded second of them can't be counted.
        has_address = scenario.is_calm or spread <= size or rng.random() < 0.95
        members.add(
            f"{list_id}-{number}@example.com" if has_address else "",
            merge_fields={"FNAME": f"F{number}", "LNAME": f"L{rng.randint(0, 9)}"},
            status=status,
            at=at,
        )
    return members


def _refusals(rng: Random) -> list[Refusal]:
    share = rng.choice((0, 0, 0, 20, 40))
    if not share:
        return []
    salt, manner = rng.randrange(1 << 16), rng.choice(tuple(Manner))

    def refuses(record: TargetRecord) -> bool:
        return Random(f"{salt}{record.id}").randrange(share) == 0

    return [Refusal(manner=manner, refuses=refuses)]


def change(scenario: Scenario) -> None:
    """Something happens to some contacts of one audience."""
    rng = scenario.rng
    world = rng.choice(scenario.worlds)
    weights = (1, 0, 0, 0, 0, 0, 0, 0) if scenario.is_crowded else (30, 15, 10, 10, 8, 8, 4, 4)
    rng.choices(_CHANGES, weights)[0](scenario, world)


def _stamp(scenario: Scenario, world: World) -> int | None:
    """Now as a rule; sometimes it was committed late and bears an earlier stamp."""
    if scenario.rng.random() < 0.85:
        return None
    account = scenario.sandbox.accounts[world.plan.account]
    return account.now() - scenario.rng.randint(1, LATE_SECONDS)


def _touch(scenario: Scenario, world: World, handle: str) -> None:
    member = world.members.find(handle)
    if member is not None:
        world.touched[member.serial] = scenario.clock.now


def _some(world: World) -> str | None:
    member = world.members.any_member()
    return None if member is None or not member.email else member.contact_id


def _update(scenario: Scenario, world: World) -> None:
    if (handle := _some(world)) is not None:
        values = {"FNAME": f"F{scenario.rng.randrange(1000)}"}
        world.members.update(handle, merge_fields=values, at=_stamp(scenario, world))
        _touch(scenario, world, handle)


def _add(scenario: Scenario, world: World) -> None:
    email = f"new-{scenario.rng.getrandbits(48):012x}@example.org"
    handle = world.members.add(email, merge_fields={"LNAME": "N"}, at=_stamp(scenario, world))
    _touch(scenario, world, handle)


def _archive(scenario: Scenario, world: World) -> None:
    if (handle := _some(world)) is not None:
        world.members.archive(handle, at=_stamp(scenario, world))
        _touch(scenario, world, handle)


def _unarchive(scenario: Scenario, world: World) -> None:
    if (handle := _some(world)) is not None:
        world.members.unarchive(handle, at=_stamp(scenario, world))
        _touch(scenario, world, handle)


def _rename(scenario: Scenario, world: World) -> None:
    if (handle := _some(world)) is not None:
        world.members.rename(
            handle, f"moved-{scenario.rng.getrandbits(48):012x}@example.net", at=_stamp(scenario, world)
        )
        _touch(scenario, world, handle)


def _delete(_scenario: Scenario, world: World) -> None:
    if (handle := _some(world)) is not None:
        world.members.delete(handle)


def _storm(scenario: Scenario, world: World) -> None:
    for _ in range(scenario.rng.randint(5, 40)):
        _update(scenario, world)


def _bulk(scenario: Scenario, world: World) -> None:
    """An import stamps many with one second, which may lie a little back."""
    handles = {handle for _ in range(scenario.rng.randint(2, 60)) if (handle := _some(world)) is not None}
    world.members.restamp(handles, _stamp(scenario, world))
    for handle in handles:
        _touch(scenario, world, handle)


_CHANGES: tuple[Callable[[Scenario, World], None], ...] = (
    _update,
    _add,
    _archive,
    _unarchive,
    _rename,
    _delete,
    _storm,
    _bulk,
)
