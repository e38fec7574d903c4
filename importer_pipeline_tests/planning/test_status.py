"""The state of audiences, their figures, and what is new since the last run."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.planning.status import (
    REPORT_AGAIN_SECONDS,
    Attempt,
    AudienceStatus,
    Reported,
    State,
    compare,
    figures_of,
    is_to_report,
    status_of,
    worst_first,
)

NOW = 1_000_000.0
HOUR = 3600.0
NAME = AudienceName("acme", "newsletter")
REFUSED = Attempt(error="KeyRefused", reason="Mailchimp refuses the key", remedy="replace it")

statuses = st.builds(
    AudienceStatus,
    name=st.builds(AudienceName, st.sampled_from("abcdef"), st.sampled_from("xyz")),
    state=st.sampled_from(State),
    imported_up_to=st.none() | st.integers(0, 10**6),
    lag_seconds=st.none() | st.floats(0, 10**6),
    error=st.sampled_from(["", "KeyRefused"]),
    reason=st.sampled_from(["", "no", "12 of 13", "14 of 15"]),
    remedy=st.just(""),
    since=st.just(NOW),
)


def status(
    *,
    lag_hours: float | None = 1.0,
    attempt: Attempt | None = None,
    before: AudienceStatus | None = None,
    now: float = NOW,
    name: AudienceName = NAME,
) -> AudienceStatus:
    """The state of an audience of which a run is late after three hours."""
    return status_of(
        name,
        imported_up_to=None if lag_hours is None else int(now - lag_hours * HOUR),
        why_unsynced="the event log has no full sync",
        attempt=attempt,
        before=before,
        now=now,
        late_after_seconds=3 * HOUR,
    )


def reported(it: AudienceStatus, *, at: float = NOW) -> Reported:
    return Reported(status=it, at=at, in_all=True)


@pytest.mark.parametrize(
    ("lag_hours", "attempt", "state"),
    [
        (1.0, Attempt(), State.WELL),
        (1.0, None, State.WELL),
        (3.0, Attempt(), State.WELL),
        (3.1, Attempt(), State.LATE),
        (3.1, None, State.LATE),
        (1.0, REFUSED, State.FAILING),
        (3.1, REFUSED, State.FAILING),
        (None, REFUSED, State.FAILING),
        (None, None, State.UNSYNCED),
        (None, Attempt(), State.UNSYNCED),
    ],
)
def test_the_state_follows_from_lag_and_attempt(lag_hours: float, attempt: Attempt | None, state: State) -> None:
    assert status(lag_hours=lag_hours, attempt=attempt).state is state


def test_what_is_not_well_has_a_reason_and_a_remedy() -> None:
    failing, late = status(attempt=REFUSED), status(lag_hours=4)
    assert (failing.error, failing.reason, failing.remedy) == ("KeyRefused", "Mailchimp refuses the key", "replace it")
    assert late.reason == "nothing has been imported for more than 3 hours"
    assert "the event log has no full sync" in status(lag_hours=None).reason
    assert (status().reason, status().remedy) == ("", "")


def test_a_failing_audience_stays_so_until_a_run_gets_further() -> None:
    failing = status(attempt=REFUSED)
    later = NOW + HOUR
    assert status(lag_hours=2, before=failing, now=later).is_like(failing)
    assert status(lag_hours=0.5, before=failing, now=later).state is State.WELL
    assert status(lag_hours=2, before=failing, attempt=Attempt(), now=later).state is State.WELL
    never = status(lag_hours=None, attempt=REFUSED)
    assert status(lag_hours=None, before=never, now=later).is_like(never)


def test_a_state_keeps_the_time_at_which_it_began() -> None:
    failing = status(attempt=REFUSED)
    still = status(attempt=replace(REFUSED, reason="another"), before=failing, now=NOW + HOUR)
    assert (failing.since, still.since) == (NOW, NOW)
    assert status(attempt=Attempt(), before=still, now=NOW + HOUR).since == NOW + HOUR


def test_a_clock_ahead_of_ours_makes_no_negative_lag() -> None:
    assert status(lag_hours=-1).lag_seconds == 0


def test_a_new_failure_is_told_from_one_as_before() -> None:
    acme, globex, hooli = (AudienceName(client, "newsletter") for client in ("acme", "globex", "hooli"))
    failing = (
        status(name=acme, attempt=replace(REFUSED, reason="no answer for 12 s")),
        status(name=globex, attempt=REFUSED),
        status(name=hooli, attempt=REFUSED),
    )
    before = {it.name: reported(it) for it in failing}
    now = [
        status(name=acme, attempt=replace(REFUSED, reason="no answer for 15 s")),
        status(name=globex, attempt=replace(REFUSED, error="TargetDown")),
        status(name=hooli, attempt=Attempt()),
        status(lag_hours=4),
    ]
    found = compare({**before, NAME: reported(status())}, [now[1], now[2], now[3]])
    assert (found.new, found.as_before, found.recovered) == ((now[1], now[3]), (), (now[2],))
    assert compare(before, now[:1]).as_before == (now[0],)
    assert compare({}, now[:1]).new == (now[0],)
    by_full_sync = {acme: replace(before[acme], in_all=False)}
    assert compare(by_full_sync, now[:1]).new == (now[0],)
    assert is_to_report(now[0], by_full_sync[acme], now=NOW, in_all=True)
    assert not is_to_report(now[0], by_full_sync[acme], now=NOW, in_all=False)


@given(st.lists(statuses, unique_by=lambda it: it.name), st.lists(statuses, unique_by=lambda it: it.name))
def test_each_troubled_audience_is_new_or_as_before(before: list[AudienceStatus], now: list[AudienceStatus]) -> None:
    found = compare({it.name: reported(it) for it in before}, now)
    assert {it.name for it in (*found.new, *found.as_before)} == {it.name for it in now if it.is_troubled}
    assert len(found.new) + len(found.as_before) == sum(it.is_troubled for it in now)
    assert not any(it.is_troubled for it in found.recovered)
    assert compare({it.name: reported(it) for it in now}, now).new == ()


@given(st.lists(statuses))
def test_figures_are_in_order_and_count_each_audience_once(found: list[AudienceStatus]) -> None:
    figures = figures_of(found)
    assert sum(figures.counts.values()) == len(found)
    assert 0 <= figures.median_lag_seconds <= figures.max_lag_seconds
    assert figures.p95_lag_seconds <= figures.max_lag_seconds
    over = sum(it.lag_seconds > figures.p95_lag_seconds for it in found if it.lag_seconds is not None)
    assert over <= 0.05 * len(found)


@given(st.lists(statuses))
def test_the_worst_come_first(found: list[AudienceStatus]) -> None:
    ordered = [list(State).index(it.state) for it in worst_first(found)]
    assert ordered == sorted(ordered)


def test_a_state_is_reported_when_it_changes_and_once_a_day() -> None:
    well = status()
    assert is_to_report(well, None, now=NOW, in_all=True)
    assert not is_to_report(well, reported(status(lag_hours=2), at=NOW - HOUR), now=NOW, in_all=True)
    assert is_to_report(well, reported(well, at=NOW - REPORT_AGAIN_SECONDS), now=NOW, in_all=True)
    assert is_to_report(well, reported(status(lag_hours=4)), now=NOW, in_all=True)
