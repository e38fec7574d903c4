"""Where a chain of hours ends: each rule by example, and that no second is ever claimed that nothing proves."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from importer_pipeline.listing.coverage import TimeRange, joined
from importer_pipeline.listing.hours import HOUR_SECONDS
from importer_pipeline.planning.chain import (
    Chain,
    Evidence,
    FormChanged,
    HourCompleted,
    SnapshotCompleted,
    SnapshotTaken,
    View,
    chain_of,
    was_other_since_snapshot,
    why_no_chain,
)

OURS, OTHER = "ours", "other"
HALF_PAST = 10 * HOUR_SECONDS + 1800
"""In the middle of the tenth hour."""

ALL = View(now=100.0 * HOUR_SECONDS, oldest=0, tolerance_seconds=900.0)
"""Everything is in view."""


def hour(number: int, *, chained: bool = False, fingerprint: str = OURS) -> HourCompleted:
    """An hour that was brought in, by a chain's sync or by itself."""
    return HourCompleted(fingerprint=fingerprint, hour=stretch(number), chain_from="first" if chained else None)


def stretch(number: int) -> TimeRange:
    return TimeRange(number * HOUR_SECONDS, (number + 1) * HOUR_SECONDS - 1)


def snapshot(before: int = HALF_PAST, *, name: str = "first", fingerprint: str = OURS) -> SnapshotCompleted:
    return SnapshotCompleted(fingerprint=fingerprint, snapshot=name, before=before)


def taken(fingerprint: str = OURS) -> SnapshotTaken:
    return SnapshotTaken(fingerprint=fingerprint)


def end_of(*written: Evidence) -> int | None:
    """Where the chain ends of what was written in this order."""
    chain = chain_of(reversed(written), fingerprint=OURS, view=ALL)
    return None if chain is None else chain.end


@pytest.mark.parametrize(
    ("written", "end"),
    [
        pytest.param([taken(), snapshot()], HALF_PAST, id="a snapshot begins it"),
        pytest.param([snapshot(), hour(10, chained=True)], stretch(10).last, id="an hour goes on with it"),
        pytest.param([hour(12, chained=True)], stretch(12).last, id="an hour of a chain proves it by itself"),
        pytest.param(
            [snapshot(), hour(10, chained=True), hour(11, chained=True)],
            stretch(11).last,
            id="one hour behind the other",
        ),
        pytest.param([snapshot(), hour(10)], stretch(10).last, id="an hour by itself that closes a gap is a link"),
        pytest.param([snapshot(), hour(11), hour(10)], stretch(11).last, id="in whatever order"),
        pytest.param([snapshot(), hour(12)], HALF_PAST, id="a later hour by itself is behind a hole"),
        pytest.param([hour(12, chained=True), hour(4)], stretch(12).last, id="an old hour again changes nothing"),
        pytest.param(
            [snapshot(), hour(10, chained=True), hour(11), hour(13)], stretch(11).last, id="up to the first hole only"
        ),
        pytest.param(
            [snapshot(), hour(10, chained=True), taken(), snapshot(15 * HOUR_SECONDS, name="second")],
            15 * HOUR_SECONDS,
            id="a later snapshot begins anew",
        ),
        pytest.param(
            [snapshot(), hour(10, chained=True), taken()], stretch(10).last, id="one that is not in leaves it be"
        ),
        pytest.param(
            [hour(12, chained=True), snapshot(HALF_PAST, name="late")],
            stretch(12).last,
            id="a snapshot that took longer than the hours does not set it back",
        ),
        pytest.param([], None, id="nothing"),
        pytest.param([hour(10), hour(11)], None, id="hours by themselves begin none"),
        pytest.param([taken()], None, id="a snapshot that is not in begins none"),
        pytest.param([snapshot(fingerprint=OTHER)], None, id="another list, target or mapping"),
        pytest.param(
            [snapshot(), hour(10, chained=True), taken(OTHER)], None, id="it ends where another one was only begun"
        ),
        pytest.param(
            [snapshot(), hour(10, chained=True), hour(11, fingerprint=OTHER), hour(11)],
            None,
            id="going back to what was before begins anew",
        ),
        pytest.param(
            [snapshot(fingerprint=OTHER), taken(), snapshot()], HALF_PAST, id="what was before another one is forgotten"
        ),
    ],
)
def test_a_chain_ends_where_the_first_second_is_not_proved(written: list[Evidence], end: int | None) -> None:
    assert end_of(*written) == end


def test_a_chain_knows_the_hours_beyond_a_hole() -> None:
    """They need not be reported again."""
    chain = chain_of([hour(14), hour(12), snapshot()], fingerprint=OURS, view=ALL)
    assert chain == Chain(snapshot="first", end=HALF_PAST, hours=frozenset({stretch(12), stretch(14)}))


def test_the_chain_names_the_snapshot_that_its_end_goes_back_to() -> None:
    newer = snapshot(20 * HOUR_SECONDS, name="second")
    chain = chain_of([newer, hour(10, chained=True), snapshot()], fingerprint=OURS, view=ALL)
    assert chain is not None
    assert chain.snapshot == "second"


@pytest.mark.parametrize(
    ("newest_first", "why"),
    [
        pytest.param([], "the event log has no successful full sync of it", id="nothing"),
        pytest.param([taken()], "its snapshot is incomplete", id="unfinished"),
        pytest.param(
            [snapshot(fingerprint=OTHER)],
            "the last sync was of another list, target or record mapping than the clients file now declares",
            id="edited",
        ),
    ],
)
def test_why_there_is_no_chain_is_said(newest_first: list[Evidence], why: str) -> None:
    assert why_no_chain(newest_first, fingerprint=OURS, view=ALL) == why


NOON = 12 * HOUR_SECONDS
AT_NOON = View(now=float(NOON), oldest=0, tolerance_seconds=900.0)
"""Of twelve o'clock."""


@pytest.mark.parametrize(
    ("written", "end"),
    [
        pytest.param([snapshot(NOON + 900)], NOON + 900, id="a clock that is a little ahead"),
        pytest.param([snapshot(NOON + 901)], None, id="a snapshot of the future"),
        pytest.param([snapshot(), snapshot(NOON + 31_536_000)], HALF_PAST, id="one of next year, after a true one"),
        pytest.param(
            [snapshot(), hour(10, chained=True), hour(500, chained=True)], stretch(10).last, id="an hour of next month"
        ),
        pytest.param(
            [snapshot(), hour(10), hour(11), hour(12)], stretch(11).last, id="an hour by itself that is not over"
        ),
        pytest.param(
            [snapshot(), replace(hour(11, chained=True), written=float(10 * HOUR_SECONDS))],
            HALF_PAST,
            id="one that was not over when it was written",
        ),
        pytest.param(
            [snapshot(), replace(snapshot(NOON - 1), written=float(11 * HOUR_SECONDS))],
            HALF_PAST,
            id="a snapshot that was of the future when it was written",
        ),
        pytest.param(
            [snapshot(), snapshot(NOON + 9000, fingerprint=OTHER)], None, id="another form, whatever it says of time"
        ),
    ],
)
def test_what_ends_in_the_future_counts_for_nothing(written: list[Evidence], end: int | None) -> None:
    chain = chain_of(reversed(written), fingerprint=OURS, view=AT_NOON)
    assert (None if chain is None else chain.end) == end


def test_a_chain_that_ends_before_the_hours_in_view_is_none() -> None:
    newest_first = [hour(10, chained=True), snapshot()]
    in_view, out_of_view = (replace(AT_NOON, oldest=(number * HOUR_SECONDS)) for number in (11, 12))
    assert chain_of(newest_first, fingerprint=OURS, view=in_view) is not None
    assert chain_of(newest_first, fingerprint=OURS, view=out_of_view) is None
    why = why_no_chain(newest_first, fingerprint=OURS, view=out_of_view)
    assert why == (
        "it was last synced up to 1970-01-01T10:59:59+00:00, and the hours in view begin at 1970-01-01T12:00:00+00:00 "
        "(IMPORTER_MONTHS_IN_VIEW)"
    )


def test_a_clock_that_was_wrong_is_named_as_the_reason() -> None:
    why = why_no_chain([snapshot(NOON + 31_536_000), taken()], fingerprint=OURS, view=AT_NOON)
    assert why == "the last sync claims to end in the future: a clock was wrong"


@pytest.mark.parametrize(
    ("newest_first", "was_other"),
    [
        ([], False),
        ([hour(10), taken()], False),
        ([taken(), hour(10, fingerprint=OTHER)], False),
        ([hour(10, fingerprint=OTHER), taken()], True),
        ([FormChanged(fingerprint=OURS), hour(10, fingerprint=OTHER), FormChanged(fingerprint=OTHER), taken()], True),
        ([taken(OTHER)], True),
    ],
)
def test_everything_sent_since_a_snapshot_is_checked(newest_first: list[Evidence], was_other: bool) -> None:
    assert was_other_since_snapshot(newest_first, fingerprint=OURS) == was_other


@given(st.lists(st.integers(0, 40), max_size=6), st.integers(0, 30 * HOUR_SECONDS))
def test_no_chain_reaches_into_the_future_nor_begins_out_of_view(hours: list[int], now: int) -> None:
    view = View(now=float(now), oldest=now - 5 * HOUR_SECONDS, tolerance_seconds=900.0)
    evidence: list[Evidence] = [*(hour(number, chained=True) for number in hours), snapshot()]
    chain = chain_of(evidence, fingerprint=OURS, view=view)
    assert chain is None or view.oldest - 1 <= chain.end <= now + 900


evidences = st.lists(
    st.one_of(
        st.builds(hour, st.integers(0, 12), chained=st.booleans(), fingerprint=st.sampled_from([OURS, OURS, OTHER])),
        st.builds(snapshot, st.integers(0, 13 * HOUR_SECONDS), fingerprint=st.sampled_from([OURS, OURS, OTHER])),
        st.builds(taken, st.sampled_from([OURS, OURS, OTHER])),
    ),
    max_size=12,
)


@given(evidences)
def test_no_second_is_claimed_that_nothing_proves(newest_first: list[Evidence]) -> None:
    chain = chain_of(newest_first, fingerprint=OURS, view=ALL)
    since = next((at for at, it in enumerate(newest_first) if it.fingerprint != OURS), len(newest_first))
    proofs = newest_first[:since]
    begun = [it.before for it in proofs if isinstance(it, SnapshotCompleted)]
    begun += [it.hour.last for it in proofs if isinstance(it, HourCompleted) and it.chain_from is not None]
    if chain is None:
        assert not begun
        return
    proved = joined([TimeRange(0, max(begun)), *(it.hour for it in proofs if isinstance(it, HourCompleted))])
    assert chain.end == proved[0].last
    assert all(it.last > chain.end for it in chain.hours)
