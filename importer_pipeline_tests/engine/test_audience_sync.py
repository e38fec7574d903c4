"""One audience: when its snapshot is taken, in which order its two walks are read, and what they add up to."""

import pytest

from importer_pipeline.engine.audience_sync import AudienceSync, Fetch
from importer_pipeline.engine.outcomes import (
    AudienceDone,
    ContactsRefused,
    Part,
    PartCounts,
    PartitionRef,
    ReadTotals,
    RefusedContact,
    RunCounts,
    SnapshotKnown,
    WindowFailed,
    WindowImported,
)
from importer_pipeline.engine.pages import Page
from importer_pipeline.errors import KeyRefused, TooSlow, TriesUsedUp
from importer_pipeline.listing.coverage import BEGINNING, Paging, TimeRange
from importer_pipeline.listing.snapshots import AudienceName, Snapshot, SnapshotProgress
from importer_pipeline_tests.support.factories import SMALL, Listing, imported, page_of, plan, requested, snapshot

NOW = 5000.0
"""The engine's clock."""
SERVER_NOW = 100_000
"""Mailchimp's."""
BEFORE = SERVER_NOW - 65
LOST = TriesUsedUp("no answer, 4 times")
REVOKED = KeyRefused("the key is refused")


NEWS = AudienceName("acme", "news")


SNAPSHOT = Snapshot(
    id="new",
    fingerprint="of the list",
    since=BEGINNING,
    before=BEFORE,
    total=9,
    archived_total=2,
    page_size=SMALL.page_size,
    overlap=SMALL.overlap,
)
"""That of nine contacts and two archived ones."""


def begun() -> AudienceSync:
    return AudienceSync(plan(), paging=SMALL, snapshot_id="new")


def asked(audience: AudienceSync) -> Fetch:
    fetch = audience.next(NOW, SERVER_NOW)
    assert fetch is not None
    return fetch


def page(fetch: Fetch, *seconds: int, lacking: dict[str, int] | None = None) -> Page:
    return page_of(Listing(seconds).cut(fetch.request), server_time=SERVER_NOW, lacking=lacking)


def brought(audience: AudienceSync, fetch: Fetch, *seconds: int, lacking: dict[str, int] | None = None) -> None:
    """A page has been read and delivered; its listing has contacts of these seconds."""
    whole = page(fetch, *seconds, lacking=lacking)
    audience.arrived(fetch, whole)
    audience.delivered(fetch, whole, accepted=whole.shape.length, refused=[], now=NOW)


def done(audience: AudienceSync, now: float = NOW) -> AudienceDone:
    """The last outcome, which has to be that of the audience."""
    assert audience.done(now)
    last = audience.outcomes[-1]
    assert isinstance(last, AudienceDone)
    return last


def test_a_snapshot_is_just_over_a_minute_old() -> None:
    """By Mailchimp's clock."""
    fetch = asked(begun())
    assert (requested(fetch).since, requested(fetch).before, requested(fetch).offset, fetch.archived) == (
        BEGINNING,
        BEFORE,
        0,
        False,
    )


@pytest.mark.parametrize(
    ("age", "is_right"),
    [
        pytest.param(-3600, False, id="in Mailchimp's future"),
        pytest.param(59, False, id="less than a minute old"),
        pytest.param(60, True, id="a minute old"),
        pytest.param(120, True, id="two minutes old"),
        pytest.param(121, False, id="older than two minutes"),
    ],
)
def test_a_moment_is_right_if_one_to_two_minutes_old(age: int, is_right: bool) -> None:
    """By Mailchimp's clock."""
    audience = begun()
    fetch = asked(audience)
    assert audience.has_right_upper_bound(fetch, BEFORE + age) is is_right
    assert audience.is_current(fetch) is is_right


def test_a_wrong_moment_is_corrected_by_mailchimps_clock() -> None:
    audience = begun()
    stale = asked(audience)
    assert not audience.has_right_upper_bound(stale, SERVER_NOW + 3600)
    fetch = asked(audience)
    assert requested(fetch).before == SERVER_NOW + 3600 - 60
    assert audience.has_right_upper_bound(fetch, SERVER_NOW + 3601)


def test_an_aged_snapshot_is_taken_again_only_once() -> None:
    audience = begun()
    assert not audience.has_right_upper_bound(asked(audience), SERVER_NOW + 3600)
    assert audience.has_right_upper_bound(asked(audience), SERVER_NOW + 9999)


def test_a_snapshot_that_is_too_young_is_taken_again_each_time() -> None:
    audience = begun()
    assert not audience.has_right_upper_bound(asked(audience), SERVER_NOW - 100)
    assert not audience.has_right_upper_bound(asked(audience), SERVER_NOW - 200)
    assert audience.has_right_upper_bound(asked(audience), SERVER_NOW - 200)


def test_once_its_first_page_is_in_a_snapshot_stays_as_it_is() -> None:
    audience = begun()
    first = asked(audience)
    brought(audience, first, *range(1, 10))
    assert audience.has_right_upper_bound(asked(audience), SERVER_NOW + 9999)


def test_archived_contacts_are_read_before_the_active_ones() -> None:
    """As soon as the active ones are planned."""
    audience = begun()
    brought(audience, asked(audience), *range(1, 10))
    fetch = asked(audience)
    assert (fetch.archived, requested(fetch).before, requested(fetch).offset) == (True, BEFORE, 0)
    assert [(asked(audience).archived, audience.has_ready) for _ in range(2)] == [(False, True), (False, False)]


def test_an_audience_waits_for_its_first_page() -> None:
    audience = begun()
    assert audience.has_ready
    assert not audience.done(NOW)
    asked(audience)
    assert not audience.has_ready
    assert audience.next(NOW, SERVER_NOW) is None
    assert not audience.done(NOW)


def test_an_audience_is_done_once_both_walks_are() -> None:
    audience = begun()
    brought(audience, asked(audience), *range(1, 10))
    archived = asked(audience)
    for fetch in (asked(audience), asked(audience)):
        brought(audience, fetch, *range(1, 10))
    assert not audience.done(NOW)
    brought(audience, archived, 4, 5)
    assert done(audience, NOW + 7.5) == AudienceDone(
        name=NEWS,
        part=Part.WINDOW,
        snapshot=SNAPSHOT,
        parts=PartCounts(total=4),
        is_proved=True,
        totals=ReadTotals(read=9 + 2, read_again=3, accepted=9 + 2, requests=4),
        run=RunCounts(accepted=9 + 2, elapsed_seconds=7.5),
        lacking=(),
        error=None,
    )
    assert audience.outcomes[-1].complete  # pyright: ignore[reportAttributeAccessIssue]
    told = len(audience.outcomes)
    assert audience.done(NOW + 9)
    assert len(audience.outcomes) == told
    assert (audience.contacts, audience.accepted) == (11, 11)


def test_an_imported_window_reports_coverage_and_counts() -> None:
    audience = begun()
    brought(audience, asked(audience), 1, 2)
    brought(audience, asked(audience), 3)
    known, *windows = audience.outcomes
    assert isinstance(known, SnapshotKnown)
    assert windows == [
        WindowImported(
            name=NEWS,
            snapshot_id="new",
            window=key,
            imported=imported(TimeRange(0, BEFORE), read=read, accepted=read, refused=0, requests=1),
            elapsed_seconds=0.0,
        )
        for key, read in (("0", 2), ("archived-0", 1))
    ]


def test_a_window_lasts_from_first_request_to_last_delivery() -> None:
    audience = begun()
    first = asked(audience)
    audience.await_retry(first)
    audience.requeue(first)
    assert audience.next(NOW + 5, SERVER_NOW) is first
    whole = page(first, 1, 2)
    audience.arrived(first, whole)
    audience.delivered(first, whole, accepted=2, refused=[], now=NOW + 8.5)
    brought(audience, asked(audience))
    assert [it.elapsed_seconds for it in audience.outcomes if isinstance(it, WindowImported)] == [8.5, 0.0]


def test_failed_windows_are_named_in_order() -> None:
    """The first one's error is the audience's."""
    audience = begun()
    brought(audience, asked(audience), *range(1, 10))
    brought(audience, asked(audience), *range(1, 6))
    other = TriesUsedUp("broken, 4 times")
    fetches = [asked(audience) for _ in range(3)]
    assert [fetch.key for fetch in fetches] == ["archived-4", "8", "4"]
    for fetch in fetches:
        audience.failed(fetch, LOST if fetch.key == "4" else other)
    last = done(audience)
    assert last.parts.failed == ("4", "8", "archived-4")
    assert last.error is LOST
    assert not last.complete
    failures = [outcome for outcome in audience.outcomes if isinstance(outcome, WindowFailed)]
    assert [(failure.window, failure.error) for failure in failures] == [
        ("archived-4", other),
        ("8", other),
        ("4", LOST),
    ]


def test_refused_contacts_are_reported_by_window() -> None:
    """Each is counted once."""
    audience = begun()
    first = asked(audience)
    whole = page(first, *range(1, 10))
    audience.arrived(first, whole)
    bad, nameless = RefusedContact(contact_id="4", reason="bad"), RefusedContact(contact_id="", reason="no id")
    audience.delivered(first, whole, accepted=4, refused=[bad, nameless], now=NOW)
    brought(audience, asked(audience))
    brought(audience, asked(audience), *range(1, 10))
    fourth = asked(audience)
    whole = page(fourth, *range(1, 10))
    audience.delivered(fourth, whole, accepted=3, refused=[bad, nameless], now=NOW)
    assert [outcome for outcome in audience.outcomes if isinstance(outcome, ContactsRefused)] == [
        ContactsRefused(
            ref=PartitionRef(name=NEWS, part=Part.WINDOW, key=window),
            snapshot_id="new",
            fingerprint="of the list",
            contacts=(bad, nameless),
        )
        for window in ("0", "4")
    ]
    last = done(audience)
    assert last.totals.refused == 3  # "4" twice is one; who has no id can't be told from another.
    assert last.complete
    window = audience.outcomes[-2]
    assert isinstance(window, WindowImported)
    assert (window.imported.read, window.imported.accepted, window.imported.refused) == (
        2,
        1,
        1,
    )  # Three were read before.


def test_only_a_path_that_every_contact_lacks_is_reported() -> None:
    audience = begun()
    brought(audience, asked(audience), 1, 2, lacking={"status": 2, "merge_fields.X": 2, "merge_fields.A": 2})
    brought(audience, asked(audience), 3, lacking={"merge_fields.X": 1, "merge_fields.A": 1})
    assert done(audience).lacking == ("merge_fields.A", "merge_fields.X")


def test_a_request_that_waited_comes_before_new_ones() -> None:
    audience = begun()
    brought(audience, asked(audience), *range(1, 10))
    tried = asked(audience)
    audience.await_retry(tried)
    assert asked(audience) is not tried
    assert audience.requeue(tried)
    assert audience.has_ready
    assert asked(audience) is tried


def test_a_try_counts_as_a_request_of_its_window() -> None:
    audience = begun()
    first = asked(audience)
    audience.await_retry(first)
    audience.requeue(first)
    assert asked(audience) is first
    brought(audience, first)
    brought(audience, asked(audience))
    window = audience.outcomes[1]
    assert isinstance(window, WindowImported)
    assert (window.window, window.imported.requests) == ("0", 2)


def test_a_delivered_page_resets_the_refused_windows() -> None:
    audience = begun()
    audience.abandoned_in_a_row = 2
    brought(audience, asked(audience))
    assert audience.abandoned_in_a_row == 0


def test_a_stop_before_the_start_ends_without_a_snapshot() -> None:
    audience = begun()
    audience.stop(REVOKED)
    assert not audience.has_ready
    last = done(audience)
    assert (last.snapshot, last.parts.total, last.error, last.run.elapsed_seconds) == (None, 0, REVOKED, 0.0)
    assert not last.complete


def test_a_stop_before_the_first_page_waits_for_it() -> None:
    audience = begun()
    first = asked(audience)
    audience.stop(REVOKED)
    assert not audience.done(NOW)
    audience.failed(first, REVOKED)
    last = done(audience)
    assert (last.snapshot, last.parts.total, last.parts.failed, last.parts.left, last.error) == (
        None,
        0,
        (),
        0,
        REVOKED,
    )
    assert not any(isinstance(outcome, WindowFailed) for outcome in audience.outcomes)


def test_a_stop_fails_waiting_requests_and_leaves_the_rest() -> None:
    audience = begun()
    brought(audience, asked(audience), *range(1, 14))
    waits, again, under_way = asked(audience), asked(audience), asked(audience)
    audience.await_retry(waits)
    audience.await_retry(again)
    audience.requeue(again)
    audience.stop(REVOKED)
    assert not audience.has_ready
    assert not audience.requeue(waits)
    assert not audience.done(NOW)
    brought(audience, under_way, *range(1, 14))
    last = done(audience)
    assert last.error is REVOKED
    assert (last.parts.failed, last.parts.left) == (("12",), 1)
    assert last.snapshot is not None


def test_a_stop_reports_the_windows_that_it_fails() -> None:
    """Not those that it leaves."""
    audience = begun()
    brought(audience, asked(audience), *range(1, 14))
    brought(audience, asked(audience))
    waits = asked(audience)
    audience.await_retry(waits)
    audience.outcomes.clear()
    audience.stop(REVOKED)
    assert [(it.window, it.error) for it in audience.outcomes if isinstance(it, WindowFailed)] == [("12", REVOKED)]
    assert done(audience).parts.left == 2


def test_the_first_reason_to_stop_stays() -> None:
    audience = begun()
    audience.stop(REVOKED)
    audience.stop(LOST)
    assert audience.stopped is REVOKED


def test_a_request_of_an_earlier_snapshot_is_not_taken_up() -> None:
    audience = begun()
    stale = asked(audience)
    audience.await_retry(stale)
    assert not audience.has_right_upper_bound(stale, SERVER_NOW + 3600)
    assert not audience.requeue(stale)


def going_on(
    *known: str, wanted: frozenset[str] | None = None, archived_total: int | None = 2, paging: Paging = SMALL
) -> AudienceSync:
    """With a snapshot of nine contacts, a second each from 1 on, of which these windows are in."""
    covered = {
        "0": TimeRange(0, 5),
        "4": TimeRange(6, 8),
        "8": TimeRange(9, BEFORE),
        "archived-0": TimeRange(0, BEFORE),
    }
    earlier = snapshot(total=9, archived_total=archived_total, before=BEFORE)
    earlier = SnapshotProgress(snapshot=earlier, windows={key: imported(covered[key]) for key in known})
    return AudienceSync(plan(earlier=earlier, wanted=wanted), paging=paging, snapshot_id="new")


def test_a_resumed_audience_reads_only_the_missing_windows() -> None:
    """Of both walks; its snapshot stays."""
    audience = going_on("0", "8")
    archived, active = asked(audience), asked(audience)
    assert not audience.has_ready
    assert [(it.key, requested(it).since, requested(it).before) for it in (archived, active)] == [
        ("archived-0", BEGINNING, BEFORE),
        ("4", 5, 8),
    ]
    assert audience.has_right_upper_bound(archived, SERVER_NOW + 100_000)
    assert audience.contacts == 11
    brought(audience, archived, 3, 4)
    brought(audience, active, *range(1, 10))
    last = done(audience)
    assert last.complete
    assert last.snapshot == snapshot(total=9, archived_total=2, before=BEFORE)
    assert {outcome.snapshot_id for outcome in audience.outcomes if isinstance(outcome, WindowImported)} == {
        "taken earlier"
    }


def test_a_resumed_snapshot_keeps_its_page_size() -> None:
    audience = going_on("0", "4", "archived-0", paging=Paging(page_size=1000))
    assert requested(asked(audience)).count == SMALL.page_size
    assert SMALL.step == 4


def test_an_imported_audience_needs_no_request() -> None:
    audience = going_on("0", "4", "8", "archived-0")
    assert not audience.has_ready
    assert audience.next(NOW, SERVER_NOW) is None
    assert done(audience, NOW + 3).complete


def test_single_windows_are_those_of_their_walk() -> None:
    audience = going_on(wanted=frozenset({"archived-0", "4"}))
    assert [asked(audience).key for _ in range(2)] == ["archived-0", "4"]
    assert not audience.has_ready
    audience = going_on("0", "archived-0", wanted=frozenset({"0"}))
    again = asked(audience)
    assert (again.key, requested(again).since, requested(again).before) == ("0", BEGINNING, 5)
    assert not audience.has_ready


def test_single_windows_do_not_complete_an_audience() -> None:
    """While others are left."""
    audience = going_on("0", wanted=frozenset({"4"}))
    brought(audience, asked(audience), *range(1, 10))
    last = done(audience)
    assert (last.error, last.parts.left, last.parts.failed, last.parts.total) == (None, 2, (), 4)
    assert not last.complete


def test_a_resume_reads_archived_contacts_not_yet_begun() -> None:
    audience = going_on("0", "4", "8", archived_total=None)
    fetch = asked(audience)
    assert (fetch.archived, requested(fetch).since, requested(fetch).before, requested(fetch).offset) == (
        True,
        BEGINNING,
        BEFORE,
        0,
    )
    brought(audience, fetch, 3)
    assert done(audience).snapshot == snapshot(total=9, archived_total=1, before=BEFORE)


def test_single_windows_count_archived_contacts_not_yet_begun() -> None:
    audience = going_on("0", "4", archived_total=None, wanted=frozenset({"8"}))
    fetch = asked(audience)
    assert (fetch.archived, fetch.reading.only_counts) == (True, True)


def counted(audience: AudienceSync, fetch: Fetch, *seconds: int) -> None:
    """A page has told how many contacts there are."""
    assert (requested(fetch).offset, requested(fetch).count, fetch.reading.only_counts) == (0, 1, True)
    whole = page(fetch, *seconds)
    assert audience.has_right_upper_bound(fetch, SERVER_NOW)
    audience.arrived(fetch, whole)
    audience.counted(fetch, whole)


def test_planning_windows_counts_and_reports_a_new_snapshot() -> None:
    audience = AudienceSync(plan(wanted=frozenset()), paging=SMALL, snapshot_id="new")
    counted(audience, asked(audience), *range(1, 10))
    counted(audience, asked(audience), 3, 4)
    last = done(audience)
    assert list(audience.outcomes) == [SnapshotKnown(name=NEWS, snapshot=SNAPSHOT), last]
    assert (last.parts.total, last.parts.left, last.totals.requests, last.totals.read, last.error) == (4, 4, 2, 0, None)
    assert not last.complete


def test_a_page_that_is_halved_gives_two_requests() -> None:
    audience = begun()
    assert audience.split(asked(audience), TooSlow("HTTP 504"))
    assert [(requested(asked(audience)).offset, audience.has_ready) for _ in range(2)] == [(0, True), (2, False)]


def test_only_a_crowded_second_delays_delivery() -> None:
    audience = begun()
    assert audience.unseen(asked(audience), ["a"]) is None
