"""Members in the order of their moments."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from importer_pipeline.sandbox.listing import Listing, Ties, scattered

moments = st.lists(st.integers(0, 20), max_size=60)


def _listing(stamps: list[int], ties: Ties = "drawn") -> Listing:
    listing = Listing(ties=ties, random=Random(1))
    listing.insert_many((moment, serial) for serial, moment in enumerate(stamps))
    return listing


@given(moments, st.integers(-1, 21), st.integers(-1, 21))
def test_a_time_range_excludes_since_and_includes_before(stamps: list[int], since: int, before: int) -> None:
    listing = _listing(stamps)
    low, high = listing.between(since, before)
    expected = {serial for serial, moment in enumerate(stamps) if since < moment <= before}
    assert set(listing.serials(low, high)) == expected


@given(moments, st.integers(0, 60), st.integers(0, 60))
def test_a_cut_with_drawn_ties_is_sorted_and_repeats_nobody(stamps: list[int], start: int, count: int) -> None:
    listing = _listing(stamps)
    cut = listing.cut(start, min(len(stamps), start + count))
    assert len(set(cut)) == len(cut) == max(0, min(len(stamps), start + count) - start)
    assert [stamps[serial] for serial in cut] == sorted(stamps)[start : start + count]


@given(moments, moments)
def test_adding_and_removing_one_by_one_equals_all_at_once(stamps: list[int], others: list[int]) -> None:
    listing = _listing(stamps)
    for serial, moment in enumerate(others, start=len(stamps)):
        listing.insert(moment, serial)
    for serial, moment in enumerate(stamps):
        listing.remove(moment, serial)
    expected = sorted((moment, serial) for serial, moment in enumerate(others, start=len(stamps)))
    assert listing.serials(0, len(listing)) == [serial for _, serial in expected]


def test_ties_over_a_page_boundary_are_drawn_anew_at_each_cut() -> None:
    listing = _listing([5] * 40)
    assert len({frozenset(listing.cut(0, 20)) for _ in range(10)}) == 10


def test_every_member_of_a_second_can_be_drawn_to_any_position() -> None:
    listing = _listing([1, 5, 5, 5, 9])
    assert {listing.cut(0, 2)[1] for _ in range(100)} == {1, 2, 3}
    assert {tuple(listing.cut(1, 4)) for _ in range(200)} == {
        (1, 2, 3), (1, 3, 2), (2, 1, 3), (2, 3, 1), (3, 1, 2), (3, 2, 1),
    }  # fmt: skip


def test_stable_ties_stand_still() -> None:
    listing = _listing([5] * 40, ties="stable")
    assert listing.cut(10, 20) == list(range(10, 20))


def test_moving_does_not_affect_other_listings() -> None:
    listing = _listing([1, 2, 3])
    listing.move({0: 9, 77: 4})
    assert listing.serials(0, 9) == [1, 2, 0]


@pytest.mark.parametrize("n", [2, 100])
def test_the_scattered_order_is_not_the_order_of_serials(n: int) -> None:
    assert sorted(scattered(range(n))) == list(range(n))
    assert scattered(range(100)) != list(range(100))
    assert scattered(reversed(range(100))) == scattered(range(100))
