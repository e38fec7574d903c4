"""The proof of a page, missing seconds, and whole crowded seconds: tables by hand, and against sets of seconds."""

from datetime import UTC, datetime
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from importer_pipeline.errors import BrokenAnswer
from importer_pipeline.listing.coverage import (
    BEGINNING,
    MAX_CONTACTS,
    PageRequest,
    PageShape,
    Paging,
    TimeRange,
    covered,
    halves,
    isolate,
    joined,
    missing,
    page_shape,
    seconds,
    timestamp,
    window_offsets,
)
from importer_pipeline.listing.crowded_second import CrowdedSecond

SECONDS = st.integers(0, 25)
STRETCHES = st.tuples(SECONDS, SECONDS).map(lambda ends: TimeRange(min(ends), max(ends)))
FEW_STRETCHES = st.lists(STRETCHES, max_size=6)


def seconds_of(*time_ranges: TimeRange) -> set[int]:
    return {second for time_range in time_ranges for second in range(time_range.first, time_range.last + 1)}


def page_request(*, since: int = 10, before: int = 30, offset: int = 0, count: int = 5) -> PageRequest:
    return PageRequest(since=since, before=before, offset=offset, count=count)


def stamps(*moments: int) -> list[str]:
    return [timestamp(moment) for moment in moments]


@pytest.mark.parametrize(
    ("offset", "page", "total", "proved"),
    [
        pytest.param(0, (12, 14, 16, 18, 20), 9, TimeRange(11, 19), id="the first page from the lower bound on"),
        pytest.param(3, (12, 14, 16, 18, 20), 9, TimeRange(13, 19), id="a page in the middle without its end seconds"),
        pytest.param(6, (12, 14, 16), 9, TimeRange(13, 30), id="a short page at the end up to the upper bound"),
        pytest.param(0, (12, 14), 2, TimeRange(11, 30), id="the only page all of it"),
        pytest.param(4, (12, 14, 16, 18, 20), 9, TimeRange(13, 19), id="a full page at the end not up to the bound"),
        pytest.param(9, (), 9, None, id="nothing beyond the end"),
        pytest.param(9, (), 0, None, id="nothing beyond the end of a list that is empty by now"),
        pytest.param(0, (), 0, TimeRange(11, 30), id="an empty list all of it"),
        pytest.param(3, (15, 15, 15, 15, 15), 9, None, id="nothing of a second that fills the page"),
        pytest.param(3, (14, 15, 15, 15, 16), 9, TimeRange(15, 15), id="a single second between its end seconds"),
        pytest.param(3, (15, 15, 16, 16, 16), 9, None, id="nothing between neighbouring seconds"),
        pytest.param(
            0, (15, 15, 15, 15, 15), 9, TimeRange(11, 14), id="what lies before a second that fills the first page"
        ),
        pytest.param(8, (15,), 9, TimeRange(16, 30), id="what lies behind a last contact"),
        pytest.param(6, (12, 14, 16), 10, TimeRange(13, 15), id="a short page that is not the end"),
    ],
)
def test_a_page_proves(offset: int, page: tuple[int, ...], total: int, proved: TimeRange | None) -> None:
    shape = PageShape(length=len(page), first=page[0] if page else 0, last=page[-1] if page else 0, total=total)
    assert covered(page_request(offset=offset), shape) == proved


@given(st.lists(st.integers(11, 30)), st.integers(0, 12), st.integers(1, 8))
def test_a_page_holds_every_contact_of_its_proved_seconds(moments: list[int], offset: int, count: int) -> None:
    listed, asked = sorted(moments), page_request(offset=offset, count=count)
    page = range(offset, offset + count)
    proved = covered(asked, page_shape(asked, stamps(*listed[offset : offset + count]), len(listed)))
    for place, second in enumerate(listed):
        if proved is not None and proved.first <= second <= proved.last:
            assert place in page
    assert proved is None or (asked.since < proved.first <= proved.last <= asked.before)


@pytest.mark.parametrize(
    ("page", "total", "found"),
    [
        pytest.param(stamps(12, 13, 14, 15, 16, 17), 9, "expected 5 to 5 contacts", id="longer than asked for"),
        pytest.param(stamps(12), MAX_CONTACTS + 1, "found one that claims more", id="of more than there can be"),
        pytest.param(stamps(12, 16, 14, 18, 20), 9, "unsorted", id="unsorted in the middle"),
        pytest.param(stamps(20, 18, 16, 14, 12), 9, "unsorted", id="descending"),
        pytest.param(stamps(10, 14), 2, "after 1970-01-01T00:00:10", id="begins at since, which is excluded"),
        pytest.param(stamps(12, 31), 2, "up to 1970-01-01T00:00:30", id="ends after before"),
        pytest.param(["", timestamp(14)], 2, "after 1970-01-01T00:00:10", id="an unknown time in a bounded listing"),
        pytest.param(["1970-01-01T00:00:12+01:00", timestamp(14)], 2, "in UTC", id="another offset"),
        pytest.param(["1970-01-01T00:00:12", timestamp(14)], 2, "in UTC", id="no offset"),
        pytest.param(["1970-01-01 noon"], 1, "ISO 8601", id="no time at all"),
        pytest.param([timestamp(12), "2 o'clock"], 2, "ISO 8601", id="no time at its end"),
    ],
)
def test_a_page_that_can_not_be_the_answer_is_broken(page: list[str], total: int, found: str) -> None:
    with pytest.raises(BrokenAnswer, match=found.replace("+", r"\+")):
        page_shape(page_request(), page, total)


@pytest.mark.parametrize(
    ("asked", "page", "total"),
    [
        pytest.param(page_request(), stamps(11, 30), 2, id="both bounds touched"),
        pytest.param(page_request(), stamps(12, 12, 14), 2, id="more than the total says, as it may have grown"),
        pytest.param(page_request(offset=7), [], 7, id="beyond the end"),
        pytest.param(
            page_request(since=BEGINNING),
            ["", "", timestamp(12)],
            3,
            id="unknown times first where there is no lower bound",
        ),
        pytest.param(page_request(), stamps(12, 13, 14, 15, 16), 99, id="as many as asked for"),
    ],
)
def test_a_page_that_can_be_the_answer_is_let_pass(asked: PageRequest, page: list[str], total: int) -> None:
    moments = [seconds(stamp) for stamp in page] or [0]
    expected = PageShape(length=len(page), first=moments[0], last=moments[-1], total=total)
    assert page_shape(asked, page, total) == expected


@pytest.mark.parametrize(
    ("since", "named"), [(BEGINNING, "the beginning"), (0, r"1970-01-01T00:00:00\+00:00")], ids=["none", "a second"]
)
def test_an_error_about_bounds_names_the_lower_bound(since: int, named: str) -> None:
    """It says so if there is none."""
    with pytest.raises(BrokenAnswer, match=f"after {named} and up to"):
        page_shape(page_request(since=since), stamps(31), 1)


@given(st.integers(0, 4_000_000_000))
def test_a_second_is_what_its_timestamp_says(second: int) -> None:
    assert seconds(timestamp(second)) == second
    assert datetime.fromisoformat(timestamp(second)) == datetime.fromtimestamp(second, UTC)


def test_an_unknown_time_sorts_before_all_others() -> None:
    assert seconds("") == 0 > BEGINNING


@given(FEW_STRETCHES)
def test_joined_ranges_hold_the_same_seconds(known: list[TimeRange]) -> None:
    """In as few ranges as possible."""
    result = joined(known)
    assert seconds_of(*result) == seconds_of(*known)
    assert all(earlier.last + 1 < later.first for earlier, later in pairwise(result))


@given(STRETCHES, FEW_STRETCHES)
def test_missing_seconds_are_those_in_no_time_range(bounds: TimeRange, known: list[TimeRange]) -> None:
    result = missing(bounds, known)
    assert seconds_of(*result) == seconds_of(bounds) - seconds_of(*known)
    assert result == joined(result)
    assert all(time_range.first <= time_range.last for time_range in result)


@given(STRETCHES, st.lists(SECONDS, max_size=5))
def test_crowded_seconds_are_cut_out_and_stand_alone(time_range: TimeRange, crowded: list[int]) -> None:
    result = isolate(time_range, crowded)
    assert [second for part in result for second in range(part.first, part.last + 1)] == sorted(seconds_of(time_range))
    assert all(TimeRange(second, second) in result for second in crowded if second in seconds_of(time_range))
    cuts = len([second for second in set(crowded) if second in seconds_of(time_range)])
    assert len(result) <= 2 * cuts + 1


@given(st.integers(0, 60), st.integers(1, 60), st.integers(2, 9))
def test_halves_hold_all_of_a_page_and_overlap(offset: int, count: int, overlap: int) -> None:
    asked = page_request(offset=offset, count=count)
    parts = halves(asked, overlap=overlap)
    assert (parts is None) == (count < 3 * overlap)
    if parts is None:
        return
    places = [set(range(part.offset, part.offset + part.count)) for part in parts]
    assert places[0] | places[1] == set(range(offset, offset + count))
    assert len(places[0] & places[1]) == overlap
    assert max(part.count for part in parts) < count
    assert abs(parts[0].count - parts[1].count) <= 1
    assert {(part.since, part.before) for part in parts} == {(asked.since, asked.before)}


@given(st.integers(0, 3000), st.integers(5, 50), st.integers(2, 4))
def test_windows_hold_every_place_and_overlap(total: int, page_size: int, overlap: int) -> None:
    paging = Paging(page_size=page_size, overlap=overlap)
    offsets = list(window_offsets(total, paging))
    assert offsets[0] == 0
    assert offsets[-1] == 0 or offsets[-1] < total
    assert offsets[-1] + page_size >= total
    assert all(later - earlier == page_size - overlap for earlier, later in pairwise(offsets))


def test_the_windows_of_a_thousand_a_page_lie_990_apart() -> None:
    assert list(window_offsets(2500, Paging())) == [0, 990, 1980]


@given(st.lists(st.tuples(st.integers(0, 6), st.sets(st.sampled_from("abcdef"))), max_size=8))
def test_a_crowded_second_is_whole_when_its_ids_match_a_total(pages: list[tuple[int, set[str]]]) -> None:
    """The IDs are those of all pages up to that total."""
    crowd = CrowdedSecond()
    for total, ids in pages:
        crowd.seen(sorted(ids), total, offset=0)
    up_to = {total: set[str]().union(*(ids for least, ids in pages if least <= total)) for total, _ in pages}
    assert crowd.is_proved == any(len(ids) == total for total, ids in up_to.items())


@given(st.integers(0, 2**32))
def test_a_whole_crowded_second_has_shown_each_unchanged_contact(seed: int) -> None:
    rng, crowd, shown = Random(seed), CrowdedSecond(), set[str]()
    held = {str(number) for number in range(rng.randint(1, 12))}
    while not crowd.is_proved:
        if rng.random() < 0.3 and len(held) > 1:
            held.remove(rng.choice(sorted(held)))
        page = rng.sample(sorted(held), min(len(held), 5))
        crowd.seen(page, len(held), offset=0)
        shown.update(page)
    assert held <= shown


def test_a_seen_contact_that_left_does_not_replace_an_unseen_one() -> None:
    crowd = CrowdedSecond()
    crowd.seen(["x", "a"], 4, offset=0)
    crowd.seen(["a", "b"], 3, offset=0)
    assert not crowd.is_proved  # x, a and b are three, but the three that are left are a, b and one more.
    crowd.seen(["c"], 3, offset=0)
    assert crowd.is_proved


def test_a_crowded_second_tells_whether_its_order_changes() -> None:
    crowd = CrowdedSecond()
    crowd.seen(["a", "b"], 4, offset=0)
    crowd.seen(["b", "c"], 4, offset=1)
    crowd.seen(["b", "c"], 3, offset=0)  # One has left, and all behind it moved one place down.
    assert crowd.keeps_order
    crowd.seen(["c", "b"], 3, offset=0)
    assert not crowd.keeps_order


def test_a_crowded_second_tells_who_is_new() -> None:
    crowd = CrowdedSecond()
    crowd.seen(["a", "b"], 3, offset=0)
    assert crowd.new(["b", "c"]) == {"c"}


def test_an_emptied_crowded_second_is_whole() -> None:
    crowd = CrowdedSecond()
    assert not crowd.is_proved
    crowd.seen([], 0, offset=0)
    assert crowd.is_proved
