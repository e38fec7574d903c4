"""Sections of missing windows, the seconds around them, and the window of a gap: tables by hand, and sets."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from importer_pipeline.errors import TriesUsedUp
from importer_pipeline.listing.coverage import TimeRange
from importer_pipeline.listing.snapshots import ImportedWindow
from importer_pipeline.listing.spans import Section, Window, WindowState, reserved_ranges, sections, window_below

STEP = 4
BOUNDS = TimeRange(0, 99)
LOST = TriesUsedUp("no answer, 4 times")

Covered = tuple[TimeRange, ...] | None
"""The seconds that an imported window covers; None for one that is not imported."""


def windows(*covered: Covered) -> dict[int, Window]:
    """Create windows at 0, 4, 8, ...; those with None are missing, the others imported."""
    return {
        number * STEP: Window(
            number * STEP, WindowState.MISSING if it is None else WindowState.IMPORTED, covered=list(it or ())
        )
        for number, it in enumerate(covered)
    }


def sections_of(known: dict[int, Window], *wanted: int) -> list[Section]:
    return list(sections(known, wanted=set(wanted), bounds=BOUNDS, step=STEP))


def one(first: int, last: int) -> Covered:
    return (TimeRange(first, last),)


NOTHING: Covered = ()


@pytest.mark.parametrize(
    ("covered", "expected"),
    [
        pytest.param([None, None], [Section(BOUNDS, 0, [0, 4])], id="none is in"),
        pytest.param([one(0, 9), None], [Section(TimeRange(10, 99), 4, [4])], id="the first is in"),
        pytest.param([None, one(10, 99)], [Section(TimeRange(0, 9), 0, [0])], id="the last is in"),
        pytest.param(
            [one(0, 9), None, None, one(30, 99)],
            [Section(TimeRange(10, 29), 4, [4, 8])],
            id="neighbours in one section",
        ),
        pytest.param(
            [None, one(10, 19), None, one(30, 39), None],
            [
                Section(TimeRange(0, 9), 0, [0]),
                Section(TimeRange(20, 29), 8, [8]),
                Section(TimeRange(40, 99), 16, [16]),
            ],
            id="a section on each side of those that are in",
        ),
        pytest.param([one(0, 9), one(10, 99)], [], id="all are in"),
        pytest.param(
            [one(0, 9), NOTHING, None, one(30, 99)],
            [Section(TimeRange(10, 29), 4, [8])],
            id="one that covers nothing is no neighbour",
        ),
        pytest.param(
            [(TimeRange(0, 3), TimeRange(6, 9)), None, (TimeRange(30, 31), TimeRange(40, 99))],
            [Section(TimeRange(10, 29), 4, [4])],
            id="up to the outermost that neighbours cover",
        ),
        pytest.param(
            [one(0, 19), None, one(20, 99)], [Section(TimeRange(20, 19), 4, [4])], id="neighbours that leave nothing"
        ),
        pytest.param(
            [one(0, 29), None, one(20, 99)], [Section(TimeRange(30, 19), 4, [4])], id="neighbours that cover the same"
        ),
    ],
)
def test_windows_that_are_not_in_lie_in_sections(covered: list[Covered], expected: list[Section]) -> None:
    known = windows(*covered)
    assert sections_of(known, *known) == expected


def test_a_section_names_only_the_windows_that_are_wanted() -> None:
    known = windows(one(0, 9), None, None, None, one(40, 49), None, None)
    assert sections_of(known, 0, 4, 12) == [Section(TimeRange(10, 39), 4, [4, 12])]


def test_where_no_window_is_wanted_there_is_no_section() -> None:
    assert sections_of(windows(None, one(10, 19), None)) == []


def test_a_half_proved_failed_window_is_not_imported() -> None:
    known = windows(one(0, 9), one(10, 14), one(20, 99))
    known[4].state, known[4].error = WindowState.FAILED, LOST
    assert sections_of(known, 4) == [Section(TimeRange(10, 19), 4, [4])]
    assert reserved_ranges(known, bounds=BOUNDS) == [TimeRange(10, 19)]


@pytest.mark.parametrize(
    ("covered", "expected"),
    [
        pytest.param([one(0, 9), one(20, 99)], [], id="nothing where all are in"),
        pytest.param([None, None], [BOUNDS], id="everything where none is in"),
        pytest.param([None, one(10, 99)], [TimeRange(0, 9)], id="what lies before the first that is in"),
        pytest.param([one(0, 9), None], [TimeRange(10, 99)], id="what lies behind the last that is in"),
        pytest.param(
            [one(0, 9), one(20, 29), None, one(40, 99)], [TimeRange(30, 39)], id="and no gap between others that are in"
        ),
        pytest.param(
            [one(0, 9), None, NOTHING, one(40, 99)], [TimeRange(10, 39)], id="up to the next that covers something"
        ),
        pytest.param([one(0, 9), NOTHING, one(40, 99)], [], id="not what surrounds one that is in and covers nothing"),
        pytest.param([one(0, 9), None, one(10, 99)], [], id="nothing where neighbours meet"),
        pytest.param([one(0, 99), None], [], id="nothing behind one that covers all"),
        pytest.param([one(0, 9), None, one(11, 99)], [TimeRange(10, 10)], id="a single second"),
        pytest.param([one(0, 98), None], [TimeRange(99, 99)], id="the last second"),
        pytest.param(
            [(TimeRange(0, 3), TimeRange(6, 9)), None, (TimeRange(30, 31), TimeRange(40, 99))],
            [TimeRange(10, 29)],
            id="up to the outermost that neighbours cover",
        ),
    ],
)
def test_left_alone_is_what_lies_around_a_window_that_is_not_in(
    covered: list[Covered], expected: list[TimeRange]
) -> None:
    assert reserved_ranges(windows(*covered), bounds=BOUNDS) == expected


@given(st.lists(st.sampled_from(["in", "not in", "in and nothing"]), min_size=1, max_size=12))
def test_each_wanted_window_is_in_exactly_one_section(
    kinds: list[str],
) -> None:
    """Imported windows cover eight of their ten seconds each."""
    of_kind: dict[str, Covered] = {"not in": None, "in and nothing": NOTHING}
    known = windows(*(of_kind.get(kind, one(10 * at + 1, 10 * at + 8)) for at, kind in enumerate(kinds)))
    bounds = TimeRange(0, 10 * len(kinds) - 1)
    found = list(sections(known, known.keys(), bounds=bounds, step=STEP))
    assert [offset for section in found for offset in section.wanted] == [
        offset for offset, window in known.items() if not window.is_imported
    ]
    assert reserved_ranges(known, bounds=bounds) == [section.bounds for section in found]
    assert all(earlier.bounds.last < later.bounds.first for earlier, later in pairwise(found))
    for section in found:
        assert all(
            time_range.last < section.bounds.first or section.bounds.last < time_range.first
            for window in known.values()
            for time_range in window.covered
        )
        assert section.start <= section.wanted[0]


@pytest.mark.parametrize(
    ("covered", "gap", "below"),
    [
        pytest.param([one(0, 9), one(20, 29), one(40, 99)], TimeRange(30, 39), 4, id="the nearest"),
        pytest.param([one(5, 9), one(20, 99)], TimeRange(0, 4), 0, id="the first where there is none"),
        pytest.param([one(0, 9), NOTHING, one(40, 99)], TimeRange(10, 39), 0, id="one that covers something"),
        pytest.param([one(0, 9), None, one(40, 99)], TimeRange(10, 39), 0, id="one that is in"),
        pytest.param([one(0, 29), one(5, 19), one(40, 99)], TimeRange(30, 39), 0, id="the one that reaches furthest"),
        pytest.param(
            [(TimeRange(0, 9), TimeRange(15, 29)), one(40, 99)], TimeRange(10, 14), 0, id="one that the gap lies within"
        ),
    ],
)
def test_a_gap_is_reported_under_the_window_below_it(covered: list[Covered], gap: TimeRange, below: int) -> None:
    assert window_below(windows(*covered), gap) == below


def test_a_gap_is_not_reported_under_a_failed_window() -> None:
    """Half of the window is proved."""
    known = windows(one(0, 9), one(10, 19), one(40, 99))
    known[4].state, known[4].error = WindowState.FAILED, LOST
    assert window_below(known, TimeRange(30, 39)) == 0


IMPORTED = ImportedWindow(covered=(TimeRange(3, 5), TimeRange(9, 9)), read=7, accepted=5, refused=2, requests=3)


def test_a_window_imported_earlier_keeps_all_that_is_recorded() -> None:
    window = Window.imported_earlier(990, IMPORTED)
    assert window.is_imported
    assert window.offset == 990
    assert window.imported == IMPORTED


def test_a_window_that_starts_over_counts_from_zero() -> None:
    """Its covered seconds stay proved."""
    window = Window.imported_earlier(990, IMPORTED)
    window.start_over()
    assert window.imported == ImportedWindow(covered=IMPORTED.covered, read=0, accepted=0, refused=0, requests=0)


def test_covered_seconds_are_kept_in_as_few_ranges_as_possible() -> None:
    window = Window.imported_earlier(990, IMPORTED)
    window.cover([TimeRange(6, 8), TimeRange(20, 21)])
    assert window.covered == [TimeRange(3, 9), TimeRange(20, 21)]


@pytest.mark.parametrize("state", [WindowState.MISSING, WindowState.UNDER_WAY, WindowState.FAILED])
def test_no_other_state_counts_as_imported(state: WindowState) -> None:
    assert not Window(0, state).is_imported
