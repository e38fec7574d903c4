"""The scenario of a seed: accounts, targets, audiences and their contacts, drawn."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from pydantic import SecretStr

from importer_pipeline.engine.services import SyncLimits
from importer_pipeline.listing.coverage import Paging
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.mailchimp.client import CredentialKind, Credentials, MailchimpClient, MailchimpLimits
from importer_pipeline.records.contacts import DEFAULT_RECORD
from importer_pipeline.sandbox.accounts import SandboxAccount
from importer_pipeline.sandbox.adapter import SandboxAdapter
from importer_pipeline.sandbox.compare import default_record, record_by_list
from importer_pipeline.sandbox.core import Sandbox
from importer_pipeline.sandbox.faults import Fault, FaultPlan
from importer_pipeline.sandbox.members import MemberList
from importer_pipeline.sandbox.protocols import TargetRecord
from importer_pipeline.sandbox.target import Manner, Refusal
from importer_pipeline.target.client import TargetClient, TargetLimits
from importer_pipeline_tests.simulation.scenario import START, Clock, Misfortune, Scenario, Sink, Source, World

_FETCH_FAULTS = tuple(Fault)
_POST_FAULTS = (Fault.ERROR_500, Fault.TOO_MANY_REQUESTS, Fault.CUT, Fault.RESET, Fault.BROKEN_JSON, Fault.HANG)


def draw(seed: int) -> Scenario:
    """Draw the scenario of a seed, without the dimensions of its world."""
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
        faults=FaultPlan(page_limit=page_limit)
        if is_calm
        else FaultPlan(rates=_rates(rng, _FETCH_FAULTS), page_limit=page_limit),
        target_faults=FaultPlan()
        if is_calm
        else FaultPlan(rates=_rates(rng, _POST_FAULTS), rates_after_storing=_rates(rng, _POST_FAULTS)),
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


def add_source(scenario: Scenario, account: SandboxAccount, list_id: str, rng: Random) -> Source:
    """Add a list with contacts to the account."""
    return Source(list_id=list_id, members=_members(scenario, account, list_id, rng))


def add_sink(scenario: Scenario, key: str, *, name: str, url: str, refusals: Sequence[Refusal]) -> Sink:
    """Add an account at the target."""
    sandbox = scenario.sandbox
    target = sandbox.add_target(key, name=name, refuse=refusals)
    adapter = SandboxAdapter(sandbox, sleep=lambda _: None)
    line = TargetClient("http://sandbox/target", SecretStr(key), limits=TargetLimits(), adapter=adapter)
    return Sink(url=url, key=key, target=target, line=line, refusals=tuple(refusals))


def refusals_of(rng: Random) -> list[Refusal]:
    """Draw what a target refuses: usually nothing, or some share of the records."""
    share = rng.choice((0, 0, 0, 20, 40))
    if not share:
        return []
    salt, manner = rng.randrange(1 << 16), rng.choice(tuple(Manner))

    def refuses(record: TargetRecord) -> bool:
        return Random(f"{salt}{record.id}").randrange(share) == 0

    return [Refusal(manner=manner, refuses=refuses)]


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
    line = MailchimpClient(
        Credentials(kind=CredentialKind.API_KEY, secret=SecretStr(key)),
        base_url="http://sandbox/3.0",
        limits=MailchimpLimits(),
        adapter=SandboxAdapter(sandbox, sleep=lambda _: None),
    )
    sink = add_sink(scenario, target_key, name=name, url="", refusals=())
    connections = rng.randint(1, 10)
    audiences = rng.choice((1, 1, 2))
    for number in range(audiences):
        list_id = f"{name}list{number}"
        # Some share a target's URL with other clients.
        url = "http://sandbox/target" if rng.random() < 0.5 else f"http://sandbox/{name}"
        scenario.worlds.append(
            World(
                name=AudienceName(name, f"audience{number}"),
                account=name,
                account_connections=connections,
                account_line=line,
                spec=DEFAULT_RECORD if audiences == 1 else {**DEFAULT_RECORD, "id": "{list_id}-{id}"},
                usual_record_of=default_record if audiences == 1 else record_by_list,
                source=add_source(scenario, account, list_id, rng),
                sink=replace(sink, url=url),
            )
        )
    if not scenario.is_calm:
        refusals = tuple(refusals_of(rng))
        sink.target.refusals = refusals
        for world in scenario.worlds[-audiences:]:
            world.point(sink=replace(world.sink, refusals=refusals))


def _members(scenario: Scenario, account: SandboxAccount, list_id: str, rng: Random) -> MemberList:
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
