"""A walk that resumes earlier ones, and the states of its windows."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from importer_pipeline.errors import TriesUsedUp
from importer_pipeline.listing.coverage import PageRequest, TimeRange, missing
from importer_pipeline.listing.spans import WindowState
from importer_pipeline.listing.walk import Walk
from importer_pipeline_tests.support.factories import SMALL, Listing, imported, requested
from importer_pipeline_tests.support.walkers import (
    BEFORE,
    LOST,
    PATIENT,
    SLOW,
    FaultyReader,
    Walker,
    assert_covered_is_seen,
    covered_by,
    resumed_walk,
    six_windows,
    some_listing,
    walker,
)


def test_missing_windows_are_read_between_imported_neighbours() -> None:
    """The offsets count from the lower neighbour."""
    later = resumed_walk(six_windows(), 0, 12)
    for section in (later.next(), later.next()):
        later.read(section)
    later.rest()
    assert later.asked == [
        PageRequest(since=5, before=13, offset=0, count=6),
        PageRequest(since=17, before=BEFORE, offset=0, count=6),
        PageRequest(since=5, before=13, offset=4, count=6),
        PageRequest(since=17, before=BEFORE, offset=4, count=6),
    ]
    assert {window: covered for window, _, covered in later.reports} == {
        4: (TimeRange(6, 10),),
        8: (TimeRange(11, 13),),
        16: (TimeRange(18, 22),),
        20: (TimeRange(23, BEFORE),),
    }


@pytest.mark.parametrize(
    ("offset", "expected"),
    [
        pytest.param(0, PageRequest(since=-1, before=5, offset=0, count=6), id="the first"),
        pytest.param(8, PageRequest(since=9, before=13, offset=0, count=6), id="in the middle"),
        pytest.param(20, PageRequest(since=21, before=BEFORE, offset=0, count=6), id="the last"),
    ],
)
def test_a_single_missing_window_is_one_request(offset: int, expected: PageRequest) -> None:
    earlier = six_windows()
    whole = earlier.known[offset].covered
    later = resumed_walk(earlier, *earlier.known.keys() - {offset})
    later.rest()
    assert later.asked == [expected]
    assert later.reports == [(offset, True, whole)]


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        pytest.param((), PageRequest(since=-1, before=BEFORE, offset=12, count=6), id="the whole"),
        pytest.param((0,), PageRequest(since=5, before=BEFORE, offset=8, count=6), id="from a lower one on"),
        pytest.param((16,), PageRequest(since=-1, before=17, offset=12, count=6), id="up to an upper one"),
        pytest.param((4, 16), PageRequest(since=9, before=17, offset=4, count=6), id="between two"),
    ],
)
def test_a_single_wanted_window_is_one_request(known: tuple[int, ...], expected: PageRequest) -> None:
    """Other windows are missing, too."""
    later = resumed_walk(six_windows(), *known, wanted={12})
    later.rest()
    assert later.asked == [expected]
    assert [offset for offset, is_imported, _ in later.reports if is_imported] == [12]
    assert later.walk.left == 5 - len(known)


def test_the_first_wanted_window_is_read_before_the_others() -> None:
    """Its page shows how many contacts there are."""
    later = resumed_walk(six_windows(), 0, wanted={8, 16, 20})
    assert later.next().request == PageRequest(since=5, before=BEFORE, offset=4, count=6)
    assert not later.walk.has_ready
    later = resumed_walk(six_windows(), 0, wanted={8, 16, 20})
    later.rest()
    assert later.offsets == [4, 16, 12]
    assert {offset for offset, _, _ in later.reports} == {8, 16, 20}


def test_other_wanted_windows_are_read_though_the_first_fails() -> None:
    """The number of contacts then is the earlier one."""
    later = resumed_walk(six_windows(), 0, wanted={8, 16, 20})
    later.fail(later.next())
    later.rest()
    assert later.offsets == [4, 16, 12]
    assert [(offset, is_imported) for offset, is_imported, _ in later.reports] == [(8, False), (20, True), (16, True)]


def test_a_failure_after_planning_repeats_no_request() -> None:
    """The first page of a section fails after it has shown how many contacts there are."""
    later = resumed_walk(six_windows(), 0, wanted={8, 16})
    first = later.next()
    later.walk.arrived(first, later.listing.cut(first.request).shape)
    later.fail(first)
    later.rest()
    assert later.offsets == [4, 12]


def test_windows_beyond_their_section_need_no_request() -> None:
    earlier = six_windows()
    earlier.listing.leave(*(str(number) for number in range(6, 11)))
    later = resumed_walk(earlier, 0, 12)
    later.rest()
    assert [(request.since, request.before, request.offset) for request in later.asked] == [
        (5, 13, 0),
        (17, BEFORE, 0),
        (17, BEFORE, 4),
    ]
    assert (8, True, ()) in later.reports
    assert later.walk.left == 0


def test_windows_between_touching_neighbours_need_no_request() -> None:
    shrunk = walker(*range(1, 24))
    shrunk.read(shrunk.next())
    shrunk.listing.leave(*(str(number) for number in range(4, 23)))
    shrunk.rest()
    assert {offset for offset, window in shrunk.known.items() if window.covered} == {0}
    later = resumed_walk(shrunk, 0)
    assert not later.walk.has_ready
    later.rest()
    assert {window.offset for window in later.walk.windows.values() if window.is_imported} == {0, 4, 8, 12, 16, 20}


def test_a_window_that_proves_nothing_is_no_neighbour() -> None:
    shrunk = walker(*range(1, 24))
    shrunk.read(shrunk.next())
    shrunk.listing.leave(*(str(number) for number in range(19)))
    for _ in range(2):
        shrunk.read(shrunk.next())
    assert shrunk.known[20].covered == shrunk.known[16].covered == ()
    later = resumed_walk(shrunk, 0, 16, 20)
    assert later.next().request == PageRequest(since=5, before=BEFORE, offset=0, count=6)


def test_an_imported_window_is_read_again_by_its_own_time() -> None:
    earlier = six_windows()
    later = resumed_walk(earlier, *earlier.known, wanted={8})
    later.seen = set()
    later.rest()
    assert later.asked == [PageRequest(since=9, before=13, offset=0, count=6)]
    assert later.seen == {"9", "10", "11", "12"}
    assert later.reports == [(8, True, (TimeRange(10, 13),))]


def test_the_counts_of_a_window_read_again_start_at_zero() -> None:
    walk = Walk(since=-1, before=BEFORE, paging=SMALL)
    walk.resume(total=23, known={8: imported(TimeRange(10, 13))}, wanted={8})
    assert walk.windows[8].imported == imported(TimeRange(10, 13), read=0, accepted=0, refused=0, requests=0)


def test_an_imported_window_keeps_its_counts() -> None:
    known = imported(TimeRange(0, 5))
    walk = Walk(since=-1, before=BEFORE, paging=SMALL)
    walk.resume(total=23, known={0: known}, wanted=set())
    assert walk.windows[0].imported == known


def test_a_wanted_window_that_covers_nothing_needs_no_request() -> None:
    """It was imported earlier and is reported again."""
    shrunk = walker(*range(1, 16))
    shrunk.read(shrunk.next())
    shrunk.listing.leave(*(str(number) for number in range(10)))
    shrunk.rest()
    later = resumed_walk(shrunk, *shrunk.known, wanted={12})
    assert not later.walk.has_ready
    later.rest()
    assert later.reports == [(12, True, ())]


def test_a_gap_between_imported_windows_is_read_at_once() -> None:
    """An earlier walk left it open."""
    earlier = walker(*range(1, 24))
    earlier.read(earlier.next())
    earlier.listing.leave("0", "1", "2")
    while requested(reading := earlier.next()).since == -1:
        earlier.read(reading)
    later = resumed_walk(earlier, *earlier.known)
    later.rest()
    assert later.asked == [PageRequest(since=5, before=8, offset=0, count=6)]
    assert later.reports == [(0, True, (TimeRange(0, 8),))]


def test_a_gap_within_an_imported_window_is_read_at_once() -> None:
    """Two halves of a page left it open."""
    later = Walker(Listing(range(1, 6)), Walk(since=-1, before=BEFORE, paging=SMALL))
    later.walk.resume(total=4, known={0: imported(TimeRange(0, 1), TimeRange(4, BEFORE))}, wanted=None)
    later.rest()
    assert later.asked == [PageRequest(since=1, before=3, offset=0, count=6)]
    assert later.reports == [(0, True, (TimeRange(0, BEFORE),))]


def test_gaps_are_read_after_the_wanted_windows() -> None:
    earlier = walker(*range(1, 24))
    earlier.read(earlier.next())
    earlier.listing.leave("0", "1", "2")
    for _ in range(5):
        earlier.read(earlier.next())
    later = resumed_walk(earlier, *earlier.known.keys() - {8, 16}, wanted={16})
    assert later.next().window == 16
    assert not later.walk.has_ready
    later = resumed_walk(earlier, *earlier.known.keys() - {8, 16}, wanted={16})
    later.rest()
    assert [(request.since + 1, request.before) for request in later.asked[1:]] == [(6, 8)]


def test_gaps_are_read_once_after_the_last_section() -> None:
    earlier = walker(*range(1, 24))
    earlier.read(earlier.next())
    earlier.listing.leave("0", "1", "2")
    for _ in range(5):
        earlier.read(earlier.next())
    later = resumed_walk(earlier, *earlier.known.keys() - {8, 16})
    sections = [later.next(), later.next()]
    assert [section.window for section in sections] == [8, 16]
    later.read(sections[0])
    assert not later.walk.has_ready
    later.read(sections[1])
    later.rest()
    assert [(request.since + 1, request.before) for request in later.asked[2:]] == [(6, 8)]


def test_the_seconds_around_missing_windows_are_left_alone() -> None:
    earlier = six_windows()
    later = resumed_walk(earlier, 0, 8, 20, wanted={16})
    later.rest()
    assert later.asked == [PageRequest(since=13, before=21, offset=4, count=6)]
    assert missing(TimeRange(0, BEFORE), covered_by(later.walk)) == [TimeRange(6, 9), TimeRange(14, 18)]
    assert later.walk.left == 2


def test_a_walk_with_nothing_to_do_is_finished_at_once() -> None:
    earlier = six_windows()
    for later in (resumed_walk(earlier, *earlier.known), resumed_walk(earlier, 0, 8, wanted=set())):
        assert later.walk.finished
        assert not later.walk.has_ready
        assert not later.walk.reports


def test_without_wanted_windows_nothing_is_requested() -> None:
    earlier = walker(*range(1, 24))
    earlier.read(earlier.next())
    earlier.listing.leave("0", "1", "2")
    for _ in range(5):
        earlier.read(earlier.next())
    assert earlier.walk.has_ready, "a gap is open between windows that are in"
    later = resumed_walk(earlier, *earlier.known, wanted=set())
    assert later.walk.finished
    assert not later.walk.has_ready


def test_known_windows_outside_the_listing_are_ignored() -> None:
    later = resumed_walk(six_windows(), 0, 4, 20, wanted={4, 20, 24}, total=12)
    assert set(later.walk.windows) == {0, 4, 8}
    assert later.next().request == PageRequest(since=5, before=9, offset=0, count=6)
    assert not later.walk.has_ready


def test_a_stopped_walk_requests_nothing_after_a_failure() -> None:
    """The first page of a section fails."""
    stopped = resumed_walk(six_windows(), 0)
    first = stopped.next()
    stopped.walk.stop(LOST)
    stopped.fail(first)
    assert stopped.walk.finished
    assert stopped.walk.left == 4


def test_a_walk_is_whole_with_all_windows_and_all_seconds() -> None:
    later = resumed_walk(six_windows(), 0, 4, 8, 12, 16)
    assert not later.walk.is_proved
    later.rest()
    assert later.walk.is_proved


def test_a_walk_with_a_missing_second_is_not_whole() -> None:
    """All its windows are imported."""
    open_between = Walk(since=-1, before=BEFORE, paging=SMALL)
    open_between.resume(total=8, known={0: imported(TimeRange(0, 5)), 4: imported(TimeRange(7, BEFORE))}, wanted=set())
    assert open_between.left == 0
    assert not open_between.is_proved


def test_a_walk_with_a_missing_window_is_not_whole() -> None:
    """No second of it is missing."""
    left = Walk(since=-1, before=BEFORE, paging=SMALL)
    left.resume(total=8, known={0: imported(TimeRange(0, BEFORE))}, wanted=set())
    assert not left.is_proved
    assert not Walk(since=-1, before=BEFORE, paging=SMALL).is_proved


def states(reading: Walker) -> dict[int, WindowState]:
    return {offset: window.state for offset, window in reading.walk.windows.items()}


def test_a_window_is_missing_until_its_first_page_is_requested() -> None:
    later = resumed_walk(six_windows(), 0, 12, wanted={4, 8})
    first = later.next()
    assert (states(later)[4], states(later)[8]) == (WindowState.UNDER_WAY, WindowState.MISSING)
    later.walk.arrived(first, later.listing.cut(first.request).shape)
    assert states(later)[8] is WindowState.UNDER_WAY


def test_a_window_is_imported_when_its_last_page_is_delivered() -> None:
    halved = walker(*range(1, 5))
    assert halved.walk.split(halved.next(), SLOW)
    halved.read(halved.next())
    assert states(halved) == {0: WindowState.UNDER_WAY}
    halved.read(halved.next())
    assert states(halved) == {0: WindowState.IMPORTED}


def test_a_missing_window_beyond_its_section_is_imported() -> None:
    """All contacts that it held have changed since."""
    earlier = six_windows()
    earlier.listing.leave(*(str(number) for number in range(6, 11)))
    later = resumed_walk(earlier, 0, 12, wanted={4, 8})
    first = later.next()
    later.walk.arrived(first, later.listing.cut(first.request).shape)
    assert (states(later)[4], states(later)[8]) == (WindowState.UNDER_WAY, WindowState.IMPORTED)


def test_a_window_under_way_fails_when_a_page_is_given_up() -> None:
    """It stays failed when its other pages are delivered."""
    halved = walker(*range(1, 6))
    assert halved.walk.split(halved.next(), SLOW)
    halved.fail(halved.next())
    assert states(halved) == {0: WindowState.FAILED}
    halved.read(halved.next())
    assert states(halved)[0] is WindowState.FAILED


def test_a_window_under_way_is_missing_after_a_stop() -> None:
    """Its walk is stopped before its page is read."""
    stopped = walker(*range(1, 16))
    stopped.read(stopped.next())
    assert states(stopped)[4] is WindowState.UNDER_WAY
    stopped.walk.stop(LOST)
    assert states(stopped)[4] is WindowState.MISSING


def test_half_of_a_page_does_not_import_its_window() -> None:
    """The walk was stopped before the other half was read."""
    stopped = walker(*range(1, 5))
    assert stopped.walk.split(stopped.next(), SLOW)
    half = stopped.next()
    stopped.walk.stop(LOST)
    stopped.read(half)
    assert states(stopped) == {0: WindowState.MISSING}
    assert stopped.reports == []


def test_a_failed_window_stays_failed_after_a_stop() -> None:
    """Half of its page had failed."""
    stopped = walker(*range(1, 5))
    assert stopped.walk.split(stopped.next(), SLOW)
    stopped.fail(stopped.next())
    stopped.walk.stop(TriesUsedUp("another"))
    assert states(stopped) == {0: WindowState.FAILED}
    assert stopped.walk.windows[0].error is LOST


def with_a_gap_above_the_first() -> Walker:
    """A walk whose first window is imported, and whose next page is of the gap above it."""
    left = walker(*range(1, 16))
    left.read(left.next())
    left.listing.leave("0", "1", "2")
    for _ in range(3):
        left.read(left.next())
    assert states(left)[0] is WindowState.IMPORTED
    return left


def test_an_imported_window_grows_by_the_gap_above_it() -> None:
    """It stays imported meanwhile."""
    left = with_a_gap_above_the_first()
    left.rest()
    assert states(left)[0] is WindowState.IMPORTED
    assert [covered for window, _, covered in left.reports if window == 0] == [(TimeRange(0, 5),), (TimeRange(0, 8),)]


def test_an_imported_window_fails_when_the_gap_above_it_fails() -> None:
    left = with_a_gap_above_the_first()
    left.fail(left.next())
    assert states(left)[0] is WindowState.FAILED
    assert [is_imported for window, is_imported, _ in left.reports if window == 0] == [True, False]


def some_windows(rng: Random, offsets: list[int]) -> set[int] | None:
    """Return None for all that are not imported, or some windows."""
    return None if rng.random() < 0.3 else set(rng.sample(offsets, rng.randint(0, len(offsets))))


def faults(rng: Random) -> FaultyReader:
    return FaultyReader(rng, leaves=rng.choice((0.0, 0.02, 0.1)), fails=0.15, dies=rng.choice((0.0, 0.01, 0.05)))


@settings(max_examples=300)
@given(st.integers(0, 2**32))
def test_resumed_walks_lose_no_unchanged_contact(seed: int) -> None:
    """Each reads some windows, imported ones too, until the last one reads all that is left and nothing fails."""
    rng = Random(seed)
    first = Walker(some_listing(rng), Walk(since=-1, before=BEFORE, paging=PATIENT))
    first.walk.read_all()
    faults(rng).read(first)
    if not first.walk.planned:
        return  # Nothing is known that could be resumed.
    offsets = list(first.walk.windows)
    for is_last in (False, False, False, True):
        later = Walker(first.listing, Walk(since=-1, before=BEFORE, paging=PATIENT), seen=first.seen, known=first.known)
        wanted = None if is_last else some_windows(rng, offsets)
        later.walk.resume(total=first.walk.total, known=dict(first.known), wanted=wanted)
        (FaultyReader(rng, leaves=0.02) if is_last else faults(rng)).read(later)
        assert_covered_is_seen(later)
    assert set(first.known) == set(offsets)
    assert set(first.listing.seconds) <= first.seen
