"""One seed from the first request to rest, and what must hold on the way."""

from collections import Counter
from dataclasses import dataclass, field, replace

from importer_pipeline.audience_sync import SNAPSHOT_AGE_SECONDS, Fetch
from importer_pipeline.connections import ConnectionBook
from importer_pipeline.errors import ImporterError
from importer_pipeline.outcomes import AudienceDone, ContactsRefused, Outcome, WindowIn
from importer_pipeline.pages import Page, open_page
from importer_pipeline.posting import Post
from importer_pipeline.sandbox.faults import Unkindness
from importer_pipeline.sandbox.members import Member
from importer_pipeline.sync import Sync
from importer_pipeline.target import Receipt
from importer_pipeline.windows import window_offsets
from importer_pipeline_tests.simulation.lies import lie
from importer_pipeline_tests.simulation.scenario import Misfortune, Scenario, World, befall, change, draw, recover

_MOST_STEPS = 60_000
_MOST_SYNCS_AT_REST = 12


class Broken(AssertionError):
    """A promise that a seed has found broken."""


@dataclass(eq=False, slots=True)
class _Flight:
    """A request under way: asked, then answered by the sandbox at some moment, then told to the engine."""

    request: Fetch | Post
    result: Page | Receipt | ImporterError | None = None


@dataclass(slots=True)
class Tally:
    """What one sync of a scenario did."""

    requests: Counter[str] = field(default_factory=Counter[str])
    refused: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    done: dict[str, AudienceDone] = field(default_factory=dict[str, AudienceDone])
    windows: dict[str, dict[str, WindowIn]] = field(default_factory=dict[str, dict[str, WindowIn]])


def run_seed(seed: int) -> Counter[str]:
    """Run a seed; raises `Broken` where a promise does not hold. Returns what happened, counted."""
    scenario = draw(seed)
    happened: Counter[str] = Counter()
    scenario_is_unkind(scenario, unkind=True)
    for _ in range(1 if scenario.is_calm else scenario.rng.randint(1, 3)):
        _check_sync(scenario, _sync(scenario, happened, changes=scenario.changes))
    recover(scenario)
    if not scenario.is_calm:
        scenario_is_unkind(scenario, unkind=scenario.rng.random() < 0.3)
    scenario.limits = replace(scenario.limits, isolation_posts=64)
    scenario.clock.now += 1000
    _check_rest(scenario, _sync_until_all_is_in(scenario, happened))
    return happened


def _sync_until_all_is_in(scenario: Scenario, happened: Counter[str]) -> Tally:
    """Syncs of a source that stands still, until one succeeds. After a while nothing fails any more."""
    errors: list[str] = []
    for attempt in range(_MOST_SYNCS_AT_REST):
        if attempt == _MOST_SYNCS_AT_REST // 2:
            scenario_is_unkind(scenario, unkind=False)
        tally = _sync(scenario, happened, changes=0.0)
        _check_sync(scenario, tally)
        if all(done.complete or _is_lost(scenario, done) for done in tally.done.values()):
            return tally
        errors = [str(done.error) for done in tally.done.values()]
    raise Broken(f"no sync succeeds at rest: {errors}")


def _is_lost(scenario: Scenario, done: AudienceDone) -> bool:
    """Whether nothing can be had of the audience, whoever asks."""
    return scenario.misfortune is Misfortune.REVOKED and done.client == scenario.worlds[-1].plan.client


def scenario_is_unkind(scenario: Scenario, *, unkind: bool) -> None:
    """Switch the faults of a scenario on or off."""
    if not unkind:
        scenario.lies = 0.0
        recover(scenario)
    for account in scenario.sandbox.accounts.values():
        account.unkindness = scenario.unkind if unkind else Unkindness(page_limit=scenario.page_limit)
    for target in scenario.sandbox.targets.values():
        target.unkindness = scenario.unkind_target if unkind else Unkindness()


def _sync(scenario: Scenario, happened: Counter[str], *, changes: float) -> Tally:
    """One full sync of all audiences, with everything that happens in between."""
    rng, clock = scenario.rng, scenario.clock
    started_at, tally, flights = clock.now, Tally(), list[_Flight]()
    worlds = {f"{world.plan.client}/{world.plan.audience}": world for world in scenario.worlds}
    sync = Sync(
        [world.plan for world in scenario.worlds],
        paging=scenario.paging,
        limits=scenario.limits,
        book=ConnectionBook(),
        rng=rng,
        epoch_offset_seconds=0.0,
    )
    for _ in range(_MOST_STEPS):
        while (request := sync.take(clock.now)) is not None:
            flights.append(_Flight(request))
            _check_connections(scenario, flights)
        _note(scenario, worlds, tally, list(sync.outcomes), started_at)
        sync.outcomes.clear()
        if sync.finished:
            _check_progress(sync, tally)
            happened.update(tally.requests)
            return tally
        if changes and rng.random() < changes:
            change(scenario)
            happened["changes"] += 1
        if scenario.misfortune and changes and rng.random() < 0.06:
            befall(scenario)
        if not flights:
            if sync.next_timer is None:
                raise Broken("the engine waits for nothing")
            clock.now = max(clock.now, sync.next_timer)
        else:
            clock.now += rng.random() * 0.4
            _advance(scenario, sync, worlds, flights, tally)
    raise Broken("the engine does not come to an end")


def _advance(scenario: Scenario, sync: Sync, worlds: dict[str, World], flights: list[_Flight], tally: Tally) -> None:
    """The next thing that happens to one of the requests under way."""
    flight = scenario.rng.choice(flights)
    request, now = flight.request, scenario.clock.now
    plan = request.audience.plan
    if flight.result is None:
        flight.result = _carried_out(scenario, request, worlds[f"{plan.client}/{plan.audience}"])
        tally.requests["fetches" if isinstance(request, Fetch) else "posts"] += 1
        return
    flights.remove(flight)
    sync.off_the_wire(request, now)
    if isinstance(request, Fetch):
        if isinstance(flight.result, Page):
            sync.fetched(request, flight.result, now)
        elif isinstance(flight.result, ImporterError):
            tally.requests[type(flight.result).__name__] += 1
            sync.fetch_failed(request, flight.result, now)
    elif isinstance(flight.result, Receipt):
        sync.posted(request, flight.result, now)
    elif isinstance(flight.result, ImporterError):
        tally.requests[f"target {type(flight.result).__name__}"] += 1
        sync.post_failed(request, flight.result, now)


def _carried_out(scenario: Scenario, request: Fetch | Post, world: World) -> Page | Receipt | ImporterError:
    lines = world.lines
    try:
        if isinstance(request, Post):
            return lines.target.post(request.batch.records)
        answer = lines.account.members(
            lines.list_id, request.ask, archived=request.archived, fields=lines.mapping.fields
        )
        if scenario.rng.random() < scenario.lies:
            answer = lie(answer, scenario.rng)
        return open_page(answer, request.ask, lines.mapping)
    except ImporterError as error:
        return error


def _check_connections(scenario: Scenario, flights: list[_Flight]) -> None:
    fetches = Counter(flight.request.audience.plan.account for flight in flights if isinstance(flight.request, Fetch))
    posts = Counter(flight.request.audience.plan.target for flight in flights if isinstance(flight.request, Post))
    for account, most in scenario.max_connections.items():
        if fetches[account] > most:
            raise Broken(f"{fetches[account]} requests at once on an account that bears {most}")
    if fetches.total() > scenario.limits.connections:
        raise Broken(f"{fetches.total()} requests to Mailchimp at once")
    if posts and max(posts.values()) > scenario.limits.target_posts:
        raise Broken(f"{max(posts.values())} posts at once to one target")


def _note(
    scenario: Scenario, worlds: dict[str, World], tally: Tally, outcomes: list[Outcome], started_at: float
) -> None:
    """Keep what the engine tells, and check that each claim is true at the moment it is made."""
    for outcome in outcomes:
        name = f"{outcome.client}/{outcome.audience}"
        if isinstance(outcome, ContactsRefused):
            tally.refused.setdefault(name, set()).update(contact.contact_id for contact in outcome.contacts)
        elif isinstance(outcome, WindowIn):
            if outcome.read < outcome.accepted + outcome.refused:
                raise Broken(f"{name} {outcome.window}: more accepted and refused than read")
            tally.windows.setdefault(name, {})[outcome.window] = outcome
            _check_covered(scenario, worlds[name], tally.refused.get(name, set()), outcome, started_at)
        elif isinstance(outcome, AudienceDone):
            tally.done[name] = outcome
            _check_moment(scenario, worlds[name], outcome, started_at)


def _check_covered(scenario: Scenario, world: World, refused: set[str], window: WindowIn, started_at: float) -> None:
    """What a window says it covers must be at the target, all that stood still since the sync began."""
    archived = window.window.startswith("archived-")
    for member in world.members:
        if (member.status == "archived") is archived and any(
            stretch.first <= member.changed <= stretch.last for stretch in window.covered
        ):
            _check_member(scenario, world, member, refused, started_at, f"window {window.window}")


def _check_moment(scenario: Scenario, world: World, done: AudienceDone, started_at: float) -> None:
    """A snapshot lies a minute in the past by Mailchimp's own clock, whatever ours shows, and not much more."""
    ahead = scenario.sandbox.accounts[world.plan.account].clock_offset_seconds
    if done.snapshot is not None:
        before = done.snapshot.before - ahead
        if not started_at - 130 <= before <= scenario.clock.now - SNAPSHOT_AGE_SECONDS:
            raise Broken(f"a snapshot of {before - started_at:.0f} s after the start")


def _check_member(
    scenario: Scenario, world: World, member: Member, refused: set[str], started_at: float, where: str
) -> None:
    if world.touched.get(member.serial, 0.0) >= started_at:
        return
    record = world.record_of(member, world.members)
    if record is not None and world.target.records.get(record.id) == record:
        return
    if record is None or world.target.refuses(record):
        if member.id not in refused:
            raise Broken(f"{where}: a contact that can't be imported is not known as refused")
    else:
        seen = "stale" if record.id in world.target.records else "missing"
        raise Broken(f"{where} of {world.plan.client}/{world.plan.audience}: a contact that stood still is {seen}")


def _check_sync(scenario: Scenario, tally: Tally) -> None:
    for world in scenario.worlds:
        name = f"{world.plan.client}/{world.plan.audience}"
        done = tally.done[name]
        if done.complete and done.snapshot is not None:
            windows = tally.windows.get(name, {})
            _check_stretch(done, windows)
        if not done.complete and done.error is None:
            raise Broken(f"{name}: not complete, and no error")
        if scenario.is_calm:
            _check_cost(scenario, done, tally)


def _check_progress(sync: Sync, tally: Tally) -> None:
    progress = sync.progress
    if progress.open_audiences or progress.audiences != len(tally.done) or progress.accepted > progress.contacts:
        raise Broken(f"at the end of a sync: {progress}")


def _check_stretch(done: AudienceDone, windows: dict[str, WindowIn]) -> None:
    """Complete means that no second of the snapshot is left out, in either walk."""
    assert done.snapshot is not None
    for archived in (False, True):
        stretches = sorted(
            stretch
            for key, window in windows.items()
            if key.startswith("archived-") is archived
            for stretch in window.covered
        )
        reached = done.snapshot.since
        for stretch in stretches:
            if stretch.first > reached + 1:
                raise Broken(f"complete, but the seconds after {reached} are in no window")
            reached = max(reached, stretch.last)
        if reached < done.snapshot.before:
            raise Broken(f"complete, but the seconds after {reached} are in no window")


def _check_cost(scenario: Scenario, done: AudienceDone, tally: Tally) -> None:
    """In calm, a window is a request; a page that is too big for the server costs its two halves more, and no others."""
    assert done.snapshot is not None
    windows = sum(
        len(window_offsets(total, scenario.paging)) for total in (done.snapshot.total, done.snapshot.archived_total)
    )
    audiences = len(tally.done)
    if audiences == 1 and done.requests > windows + 2 * tally.requests["TooSlow"]:
        raise Broken(f"{done.requests} requests for {windows} windows in calm")


def _check_rest(scenario: Scenario, tally: Tally) -> None:
    """The promise: the source stands still, and every contact is at the target as it is, or known as refused."""
    for world in scenario.worlds:
        name = f"{world.plan.client}/{world.plan.audience}"
        if not tally.done[name].complete:
            continue
        refused = tally.refused.get(name, set())
        for member in world.members:
            _check_member(scenario, world, member, refused, float("inf"), "at rest")
        for contact_id in refused:
            member = world.members.find(contact_id)
            record = None if member is None else world.record_of(member, world.members)
            if record is not None and not world.target.refuses(record):
                raise Broken(f"at rest of {name}: a good contact is called refused")
