"""Checks of a simulated run: at each moment, at the end of a sync, and at rest."""

from collections import Counter
from collections.abc import Iterable, Mapping

from importer_pipeline.engine.audience_plan import SNAPSHOT_AGE_SECONDS, SnapshotScope
from importer_pipeline.engine.audience_sync import Fetch
from importer_pipeline.engine.outcomes import AudienceDone, HourImported, WindowImported
from importer_pipeline.engine.posts import Post, Probe
from importer_pipeline.engine.sync import Sync
from importer_pipeline.listing.hours import parse_hour_key
from importer_pipeline.listing.snapshots import ImportedWindow, Snapshot
from importer_pipeline.listing.spans import Purpose
from importer_pipeline.planning.quarantine import Entry
from importer_pipeline.records.contacts import ID_OF_NO_ADDRESS
from importer_pipeline.sandbox.members import Member
from importer_pipeline_tests.simulation.scenario import JUMP_SECONDS, Scenario, World
from importer_pipeline_tests.support.memory_history import MemoryHistory


class Broken(AssertionError):
    """A seed has found a promise broken."""


def check_connections(scenario: Scenario, requests: list[Fetch | Post | Probe], in_flight: Mapping[str, int]) -> None:
    """Check that no account, no target and not the process has more requests in flight than its limit.

    Args:
        scenario: has the limits.
        requests: the requests in flight of the process.
        in_flight: number of requests in flight to each account, of all processes.
    """
    fetches = Counter(request.audience.plan.account for request in requests if isinstance(request, Fetch))
    posts = Counter(request.audience.plan.target for request in requests if not isinstance(request, Fetch))
    for account, most in scenario.max_connections.items():
        if in_flight[account] > most:
            raise Broken(f"{in_flight[account]} requests at once on an account with a limit of {most}")
    if fetches.total() > scenario.limits.connections:
        raise Broken(f"{fetches.total()} requests to Mailchimp at once")
    if posts and max(posts.values()) > scenario.limits.target_posts:
        raise Broken(f"{max(posts.values())} posts at once to one target")


def check_not_read_again(request: Fetch | Post | Probe, history: MemoryHistory) -> None:
    """Check that windows imported by an earlier run are not read again, unless requested."""
    if isinstance(request, Fetch) and request.reading.span.purpose is Purpose.WINDOWS:
        plan = request.audience.plan
        earlier = plan.scope.earlier if isinstance(plan.scope, SnapshotScope) else None
        if earlier is not None and request.key in history.windows(plan.name, earlier.snapshot):
            raise Broken(f"{plan.name} {request.key} is read again")


def check_window(
    scenario: Scenario, world: World, refused: set[str], outcome: WindowImported, *, taken_at: float
) -> None:
    """Check that the seconds that a window covers are at the target: contacts unchanged since its snapshot began."""
    imported = outcome.imported
    if imported.read < imported.accepted + imported.refused:
        raise Broken(f"{outcome.name} {outcome.window}: more accepted and refused than read")
    archived = outcome.window.startswith("archived-")
    for member in world.members:
        if (member.status == "archived") is archived and any(
            seconds.first <= member.changed <= seconds.last for seconds in imported.covered
        ):
            check_member(scenario, world, member, refused, taken_at, f"window {outcome.window}")


def quarantined(entries: Iterable[Entry]) -> set[str]:
    """Return the ids of the contacts in these entries of the quarantine."""
    ids = {contact_id for entry in entries for contact_id in entry.contacts}
    return ids | {ID_OF_NO_ADDRESS} if "" in ids else ids


def check_hour(
    scenario: Scenario, world: World, entries: Iterable[Entry], outcome: HourImported, *, began: float
) -> None:
    """Check that the changes of an imported hour are at the target, unless they changed since the process began."""
    hour = parse_hour_key(outcome.hour)
    assert hour is not None
    refused = quarantined(entries)
    first = hour.first if outcome.chain_from is None else max(hour.first, outcome.walk.first)
    for member in world.members:
        if first <= member.changed <= hour.last:
            check_member(scenario, world, member, refused, began, f"hour {outcome.hour}")


def check_moment(scenario: Scenario, world: World, snapshot: Snapshot, *, taken_at: float) -> None:
    """Check that a snapshot lies a minute in the past by Mailchimp's own clock, and not much more."""
    before = snapshot.before - scenario.sandbox.accounts[world.account].clock_offset_seconds
    jump = JUMP_SECONDS if "lying clocks" in scenario.dimensions else 0
    if not taken_at - 130 - jump <= before <= scenario.clock.now - SNAPSHOT_AGE_SECONDS + jump:
        raise Broken(f"a snapshot of {before - taken_at:.0f} s after the start")


def check_member(scenario: Scenario, world: World, member: Member, refused: set[str], since: float, where: str) -> None:
    """Check that a contact is at the target as it is, or known as refused; unless it has changed since then."""
    if world.touched.get(member.serial, 0.0) >= since:
        return
    record = world.record_of(member, world.members)
    if (record is not None and world.target.records.get(record.id) == record) or member.id in refused:
        return
    # An unreadable one may be known only by its position.
    if scenario.is_unreadable(world, member, ever=True) and refused & {"", ID_OF_NO_ADDRESS}:
        return
    if record is None or scenario.is_refused(world, record, ever=True):
        raise Broken(f"{where}: a contact that can't be imported is not reported as refused")
    seen = "stale" if record.id in world.target.records else "missing"
    raise Broken(f"{where} of {world.plan.name}: a contact that did not change is {seen}")


def check_progress(sync: Sync, audiences: int) -> None:
    """Check that a finished sync reports so."""
    progress = sync.progress
    if progress.open_audiences or progress.audiences != audiences or progress.accepted > progress.contacts:
        raise Broken(f"at the end of a sync: {progress}")


def check_done(done: AudienceDone, windows: Mapping[str, ImportedWindow], *, wanted: frozenset[str] | None) -> None:
    """Check that a complete snapshot leaves out no second, in either walk, and that anything less has an error."""
    if done.complete:
        assert done.snapshot is not None
        if set(windows) != set(done.snapshot.keys):
            raise Broken(f"{done.name}: complete, but not all windows are imported")
        for archived in (False, True):
            _check_ranges(done.snapshot, windows, archived=archived)
    elif done.error is None and wanted is None:
        raise Broken(f"{done.name}: not complete, and no error")
    elif done.error is None and wanted is not None and not wanted <= windows.keys():
        raise Broken(f"{done.name}: no error, but not all requested windows are imported")


def _check_ranges(snapshot: Snapshot, windows: Mapping[str, ImportedWindow], *, archived: bool) -> None:
    ranges = sorted(
        seconds
        for key, window in windows.items()
        if key.startswith("archived-") is archived
        for seconds in window.covered
    )
    reached = snapshot.since
    for seconds in ranges:
        if seconds.first > reached + 1:
            raise Broken(f"complete, but the seconds after {reached} are in no window")
        reached = max(reached, seconds.last)
    if reached < snapshot.before:
        raise Broken(f"complete, but the seconds after {reached} are in no window")


def check_cost(done: AudienceDone, *, too_slow: int) -> None:
    """Check that, in calm, a window is one request; a page too big for the server adds two for its halves."""
    assert done.snapshot is not None
    snapshot = done.snapshot
    windows = len(snapshot.keys)
    twice = sum(_costs_more(total, snapshot) for total in (snapshot.total, snapshot.archived_total or 0))
    if done.totals.requests > windows + twice + 2 * too_slow:
        raise Broken(f"{done.totals.requests} requests for {windows} windows in calm")


def _costs_more(total: int, snapshot: Snapshot) -> int:
    """Count what a listing costs beyond its windows: absence is asked for twice, and a full page does not show the end."""
    if total == 0:
        return 1
    is_full = (
        total >= snapshot.page_size and (total - snapshot.page_size) % (snapshot.page_size - snapshot.overlap) == 0
    )
    return 2 if is_full else 0


def check_rest(scenario: Scenario, world: World, refused: set[str]) -> None:
    """Check the guarantee at rest: every contact is at the target as it is, or known as refused."""
    for member in world.members:
        check_member(scenario, world, member, refused, float("inf"), "at rest")
    for contact_id in refused:
        member = world.members.find(contact_id)
        if member is None or scenario.is_unreadable(world, member, ever=False):
            continue
        record = world.record_of(member, world.members)
        if record is not None and not scenario.is_refused(world, record, ever=False):
            raise Broken(f"at rest of {world.plan.name}: a good contact is reported as refused")
    if "" in refused or ID_OF_NO_ADDRESS in refused:
        _check_nameless(scenario, world)


def _check_nameless(scenario: Scenario, world: World) -> None:
    """Check that a contact known only by its position has no id or can't be read."""
    if not any(
        world.record_of(member, world.members) is None or scenario.is_unreadable(world, member, ever=False)
        for member in world.members
    ):
        raise Broken(f"at rest of {world.plan.name}: something is reported as refused that does not exist")
