"""One walk over a changing listing: the next page, what is not read, and that no unchanged contact is lost.

Stays out: walks that know windows which are in (see `test_walk_resuming`).
"""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from importer_pipeline.errors import SecondTooCrowded
from importer_pipeline.listing.coverage import PageRequest, Paging, TimeRange, missing
from importer_pipeline.listing.walk import Walk
from importer_pipeline_tests.support.factories import SMALL, Cut, Listing, requested
from importer_pipeline_tests.support.walkers import (
    BEFORE,
    LOST,
    PATIENT,
    SLOW,
    FaultyReader,
    Walker,
    covered_by,
    open_gap,
    some_listing,
    walker,
)


def test_an_empty_listing_is_covered_by_one_page() -> None:
    empty = walker()
    empty.rest()
    assert empty.asked == [PageRequest(since=-1, before=BEFORE, offset=0, count=6)]
    assert empty.reports == [(0, True, (TimeRange(0, BEFORE),))]
    assert empty.walk.total == 0


def test_windows_are_read_first_one_first_then_from_the_end() -> None:
    calm = walker(*range(1, 16))
    calm.rest()
    assert calm.offsets == [0, 12, 8, 4]
    assert {window for window, _, _ in calm.reports} == {0, 4, 8, 12}
    assert calm.walk.total == 15
    assert len(calm.seen) == 15


def test_a_calm_walk_leaves_nothing_missing() -> None:
    calm = walker(*range(1, 16))
    calm.rest()
    assert covered_by(calm.walk)[0].first == 0
    assert covered_by(calm.walk)[-1].last == BEFORE


def test_a_full_page_leaves_the_end_to_the_next_window() -> None:
    full = walker(1, 2, 3, 4, 5, 6)
    full.rest()
    assert full.offsets == [0, 4]
    assert full.walk.windows[0].covered == [TimeRange(0, 5)]
    assert full.walk.windows[4].covered == [TimeRange(6, BEFORE)]


def test_a_walk_is_planned_by_its_first_page_and_only_once() -> None:
    planned = walker(*range(1, 9))
    first = planned.next()
    assert not planned.walk.planned
    assert planned.walk.total == 0
    assert planned.walk.next() is None
    planned.walk.arrived(first, planned.listing.cut(first.request).shape)
    assert planned.walk.planned
    planned.read(first)
    planned.rest()
    assert planned.offsets == [0, 4]


def test_a_gap_that_leaving_contacts_open_is_read_by_time() -> None:
    """It is reported under the window below."""
    left = walker(*range(1, 16))
    left.read(left.next())
    left.listing.leave("0", "1", "2")
    left.rest()
    assert left.asked[-1] == PageRequest(since=5, before=8, offset=0, count=6)
    assert {str(number) for number in range(3, 15)} <= left.seen
    assert left.reports[-1] == (0, True, (TimeRange(0, 8),))


def test_a_tie_that_misses_the_window_below_is_read_by_time() -> None:
    """The counterexample to counting by positions: the order within a second moves one of two under the next window."""
    tied = walker(1, 2, 3, 4, 5, 5, paging=Paging(page_size=4, overlap=0))
    tied.read(tied.next())
    tied.listing.leave("0")
    second = tied.next()
    assert requested(second).offset == 4
    assert tied.read(second).ids == ["5"]
    assert "4" not in tied.seen
    tied.rest()
    assert tied.asked[-1] == PageRequest(since=3, before=5, offset=0, count=4)
    assert {"1", "2", "3", "4", "5"} <= tied.seen


def test_a_window_beyond_the_end_proves_nothing_and_is_imported() -> None:
    shrunk = walker(*range(1, 16))
    shrunk.read(shrunk.next())
    shrunk.listing.leave(*(str(number) for number in range(10)))
    shrunk.rest()
    assert (12, True, ()) in shrunk.reports
    assert {str(number) for number in range(10, 15)} <= shrunk.seen


def test_a_gap_of_several_pages_is_read_page_by_page() -> None:
    """All are reported under the window below."""
    shrunk = walker(*range(1, 25))
    shrunk.read(shrunk.next())
    windows = {reading.window: reading for reading in (shrunk.next() for _ in range(5))}
    shrunk.read(windows[4])
    shrunk.listing.leave(*(str(number) for number in range(8)))
    for offset in (8, 12, 16, 20):
        shrunk.read(windows[offset])
    gap = [shrunk.next()]
    assert shrunk.walk.next() is None
    shrunk.read(gap[0])
    gap.append(shrunk.next())
    assert [reading.request for reading in gap] == [
        PageRequest(since=9, before=17, offset=offset, count=6) for offset in (0, 4)
    ]
    shrunk.read(gap[1])
    assert shrunk.walk.finished
    assert {str(number) for number in range(8, 24)} <= shrunk.seen
    assert shrunk.reports[-1] == (4, True, (TimeRange(6, 17),))


@pytest.mark.parametrize(
    ("contacts", "offsets"),
    [
        pytest.param(5, [0], id="less than a page"),
        pytest.param(6, [0, 4], id="a page that does not tell whether it is the end"),
        pytest.param(9, [0, 4], id="two pages"),
        pytest.param(10, [0, 8, 4], id="a full second page"),
    ],
)
def test_a_gap_is_read_from_the_end_down_and_not_beyond_its_end(contacts: int, offsets: list[int]) -> None:
    gap = open_gap(contacts)
    gap.rest()
    assert gap.offsets == offsets
    assert gap.reports[-1] == (0, True, (TimeRange(0, 3 + contacts),))


def test_a_second_that_fills_a_page_is_asked_for_alone() -> None:
    crowded = walker(1, 2, *[7] * 8, 9)
    crowded.rest()
    assert PageRequest(since=6, before=7, offset=0, count=6) in crowded.asked
    assert len(crowded.seen) == 11


def test_a_crowded_second_is_read_until_its_ids_match_its_total() -> None:
    crowded = walker(*[7] * 14, rng=Random(3), paging=Paging(page_size=6, overlap=2, rounds=50))
    crowded.rest()
    rounds = [request.offset for request in crowded.asked if request.since == 6]
    assert rounds[:3] == [0, 6, 12]
    assert rounds.count(0) > 1
    assert len(crowded.seen) == 14
    assert all(is_imported for _, is_imported, _ in crowded.reports)


def test_a_crowded_second_in_stable_order_takes_one_round() -> None:
    crowded = walker(*[7] * 14)
    crowded.rest()
    assert [request.offset for request in crowded.asked if request.since == 6] == [0, 6, 12]


def test_contacts_of_a_crowded_second_are_delivered_once() -> None:
    crowded = walker(*[7] * 8)
    while requested(reading := crowded.next()).since != 6:
        crowded.read(reading)
    cut = crowded.read(reading)
    assert crowded.walk.unseen(reading, [*cut.ids, "new"]) == {"new"}


def test_a_page_outside_crowded_seconds_is_delivered_whole() -> None:
    calm = walker(1, 2)
    assert calm.walk.unseen(calm.next(), ["0", "1"]) is None


def test_an_unstable_crowded_second_is_given_up_after_its_rounds() -> None:
    crowded = walker(5, *[7] * 8)
    while crowded.walk.has_ready:
        reading = crowded.next()
        cut = crowded.listing.cut(reading.request)
        crowded.walk.arrived(reading, cut.shape)
        ids = cut.ids if requested(reading).since != 6 else ["the same"]
        crowded.deliver(reading, Cut(cut.shape, ids))
    assert crowded.walk.finished
    assert [request.offset for request in crowded.asked if request.since == 6] == [0, 6] * SMALL.rounds
    error = crowded.walk.windows[0].error
    assert isinstance(error, SecondTooCrowded)
    assert str(error) == (
        "8 contacts share the second 1970-01-01T00:00:07+00:00 and came in another order at each of 5 rounds: "
        "try this window again at a quieter hour"
    )


def test_a_crowded_second_at_the_start_is_in_the_first_window() -> None:
    crowded = walker(*[0] * 8, 5, 6)
    crowded.rest()
    assert crowded.reports[-1][:2] == (0, True)
    assert crowded.walk.windows[0].covered == [TimeRange(0, 0)]
    assert len(crowded.seen) == 10


def test_a_crowded_second_with_a_failed_page_is_not_read_again() -> None:
    crowded = walker(*[7] * 8)
    while requested(reading := crowded.next()).since != 6:
        crowded.read(reading)
    crowded.read(reading)
    crowded.fail(crowded.next())
    assert crowded.walk.finished
    assert crowded.walk.windows[0].error is LOST


def test_the_seconds_of_a_failed_window_are_left_alone() -> None:
    failing = walker(*range(1, 16))
    for offset in (0, 12, 8, 4):
        reading = failing.next()
        assert reading.window == offset
        if offset == 8:
            failing.fail(reading)
        else:
            failing.read(reading)
    assert failing.walk.finished
    assert failing.offsets == [0, 12, 8, 4]
    assert failing.walk.windows[8].error is LOST
    assert not failing.walk.windows[8].is_imported


@pytest.mark.parametrize("lost", [{0}, {12}, {4, 8}, {0, 4, 8, 12}], ids=["first", "last", "neighbours", "all"])
def test_failed_windows_leave_no_gap_to_read(lost: set[int]) -> None:
    failing = walker(*range(1, 16))
    first = failing.next()
    failing.walk.arrived(first, failing.listing.cut(first.request).shape)
    for reading in [first, *(failing.next() for _ in range(3))]:
        if reading.window in lost:
            failing.fail(reading)
        else:
            failing.deliver(reading, failing.listing.cut(reading.request))
    assert failing.walk.finished
    assert len(failing.asked) == 4
    assert {offset for offset, window in failing.walk.windows.items() if window.error} == lost


def test_the_second_behind_the_window_above_a_failed_one_is_read() -> None:
    failing = walker(*range(1, 9), 9, 10, 10, 10, 11, 11, 12, 13)
    for _ in range(3):
        failing.read(failing.next())
    assert failing.walk.windows[8].covered == [TimeRange(10, 10)]
    failing.fail(failing.next())
    failing.rest()
    assert [(request.since + 1, request.before) for request in failing.asked[4:]] == [(11, 11)]
    assert failing.walk.windows[8].covered == [TimeRange(10, 11)]


def test_the_last_second_is_left_to_the_failed_window() -> None:
    """No other second is missing."""
    failing = walker(1, 2, 3, 4, 5, 7, 7, 7, before=7)
    failing.read(failing.next())
    assert failing.walk.windows[0].covered == [TimeRange(0, 6)]
    failing.fail(failing.next())
    assert failing.walk.finished


def test_gaps_beside_a_failed_window_are_read() -> None:
    failing = walker(*range(1, 24))
    for _ in range(3):
        failing.read(failing.next())
    assert failing.offsets == [0, 20, 16]
    failing.fail(failing.next())  # Window 12.
    failing.listing.leave("0", "1", "2")
    failing.rest()
    gaps = [(request.since + 1, request.before) for request in failing.asked[6:]]
    assert gaps == [(6, 8)]
    assert failing.walk.windows[0].covered == [TimeRange(0, 8)]


def test_a_gap_that_fails_fails_the_window_below_it() -> None:
    left = walker(*range(1, 16))
    left.read(left.next())
    left.listing.leave("0", "1", "2")
    for _ in range(3):
        left.read(left.next())
    left.fail(left.next())
    assert left.walk.finished
    assert {offset for offset, window in left.walk.windows.items() if window.error} == {0}


def test_a_gap_does_not_import_a_window_that_another_gap_failed() -> None:
    crowded = walker(*range(1, 8), *[9] * 6, 10, 11, 12)
    crowded.read(crowded.next())
    crowded.listing.leave("0", "1", "2")
    for _ in range(3):
        crowded.read(crowded.next())
    gaps = [crowded.next(), crowded.next()]
    assert [(gap.window, requested(gap).since, requested(gap).before) for gap in gaps] == [(0, 5, 8), (0, 8, 9)]
    reported = len(crowded.reports)
    crowded.fail(gaps[0])
    crowded.read(gaps[1])
    assert crowded.walk.finished
    assert crowded.reports[reported:] == [(0, False, (TimeRange(0, 5),))]


def test_a_window_tells_its_failure_once() -> None:
    halved = walker(*range(1, 7))
    assert halved.walk.split(halved.next(), SLOW)
    halved.fail(halved.next())
    halved.fail(halved.next())
    assert halved.reports == [(0, False, ())]


def test_a_halved_page_imports_its_window_with_both_halves() -> None:
    halved = walker(*range(1, 6))
    whole = halved.next()
    assert halved.walk.split(whole, SLOW)
    low, high = halved.next(), halved.next()
    assert [(requested(part).offset, requested(part).count) for part in (low, high)] == [(0, 4), (2, 4)]
    assert (low.window, high.window) == (0, 0)
    halved.read(high)
    assert halved.reports == []
    halved.read(low)
    assert halved.reports == [(0, True, (TimeRange(0, BEFORE),))]


def test_halves_are_halved_again_until_they_are_too_small() -> None:
    halved = walker(*range(1, 30), paging=Paging(page_size=24, overlap=2))
    reading = halved.next()
    counts = [requested(reading).count]
    while halved.walk.split(reading, SLOW):
        reading = halved.next()
        counts.append(requested(reading).count)
    assert counts == [24, 13, 8, 5]
    halved.read(reading)
    halved.rest()
    assert len(halved.seen) == 29


def test_what_halves_leave_open_is_read_by_time() -> None:
    halved = walker(*range(1, 6))
    assert halved.walk.split(halved.next(), SLOW)
    halved.read(halved.next())
    halved.listing.leave("0", "1", "2")
    halved.rest()
    assert halved.asked[-1] == PageRequest(since=3, before=BEFORE, offset=0, count=6)
    assert {"3", "4"} <= halved.seen


def test_halving_a_page_of_a_gap_does_not_reopen_its_window() -> None:
    left = walker(*range(1, 16))
    left.read(left.next())
    left.listing.leave("0", "1", "2")
    for _ in range(3):
        left.read(left.next())
    assert left.walk.split(left.next(), SLOW)
    assert left.walk.windows[0].is_imported
    left.rest()
    assert left.reports[-1] == (0, True, (TimeRange(0, 8),))


def test_a_stopped_walk_drops_its_queue_and_opens_no_gap() -> None:
    stopped = walker(*range(1, 16))
    stopped.read(stopped.next())
    under_way = stopped.next()
    stopped.listing.leave("0", "1", "2", "3")
    stopped.walk.stop(LOST)
    assert not stopped.walk.has_ready
    assert not stopped.walk.finished
    stopped.read(under_way)
    assert stopped.walk.finished
    assert [offset for offset, _, _ in stopped.reports] == [0, 12]
    assert stopped.walk.left == 2


def test_a_walk_stopped_before_its_last_window_opens_no_gap() -> None:
    stopped = walker(*range(1, 16))
    stopped.read(stopped.next())
    stopped.listing.leave("0", "1", "2")
    for _ in range(2):
        stopped.read(stopped.next())
    last = stopped.next()
    stopped.walk.stop(LOST)
    stopped.read(last)
    assert stopped.walk.finished
    assert (stopped.walk.left, len(stopped.asked)) == (0, 4)


def test_a_walk_that_is_stopped_in_a_gap_asks_for_no_more_of_it() -> None:
    stopped = open_gap(10)
    stopped.read(stopped.next())
    under_way = [stopped.next(), stopped.next()]
    stopped.listing.leave("3", "4", "5", "6")
    stopped.walk.stop(LOST)
    for reading in under_way:
        stopped.read(reading)
    assert stopped.walk.finished
    assert stopped.walk.windows[0].is_imported
    assert not stopped.walk.has_ready


def test_a_walk_stopped_in_a_crowded_second_starts_no_round() -> None:
    """The window stays imported."""
    crowded = walker(*[7] * 8)
    while requested(reading := crowded.next()).since != 6:
        crowded.read(reading)
    cut = crowded.listing.cut(reading.request)
    crowded.walk.arrived(reading, cut.shape)
    last = crowded.next()
    crowded.walk.stop(LOST)
    crowded.deliver(last, Cut(crowded.listing.cut(last.request).shape, ["the same"]))
    crowded.deliver(reading, Cut(cut.shape, ["the same"]))
    assert crowded.walk.finished
    assert crowded.walk.windows[0].is_imported
    assert TimeRange(7, 7) in missing(TimeRange(0, BEFORE), covered_by(crowded.walk))


def test_a_count_learns_all_windows_from_one_contact() -> None:
    counting = Walker(Listing(range(1, 24)), Walk(since=-1, before=BEFORE, paging=SMALL))
    counting.walk.count_windows()
    reading = counting.next()
    assert reading.request == PageRequest(since=-1, before=BEFORE, offset=0, count=1)
    assert reading.only_counts
    counting.read(reading)
    assert counting.walk.finished
    assert (counting.walk.planned, counting.walk.total, counting.walk.left) == (True, 23, 6)
    assert list(counting.walk.windows) == [0, 4, 8, 12, 16, 20]
    assert counting.reports == []


def test_a_count_that_fails_knows_nothing() -> None:
    counting = Walker(Listing(range(1, 24)), Walk(since=-1, before=BEFORE, paging=SMALL))
    counting.walk.count_windows()
    counting.fail(counting.next())
    assert counting.walk.finished
    assert not counting.walk.planned


@settings(max_examples=300)
@given(st.integers(0, 2**32))
def test_a_walk_loses_nobody_who_stood_still(seed: int) -> None:
    rng = Random(seed)
    reading = Walker(some_listing(rng), Walk(since=-1, before=BEFORE, paging=PATIENT))
    reading.walk.read_all()
    FaultyReader(rng, leaves=rng.choice((0.0, 0.02, 0.15))).read(reading)
    assert reading.walk.left == 0
    assert set(reading.listing.seconds) <= reading.seen
