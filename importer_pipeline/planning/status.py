"""The state of each audience after a run, the figures of all of them, and what has changed since the last run. Pure.

The state of an audience follows from the end of its chain, from the last attempt to import it, and, if it was not tried
in this run, from its state before. Its lag is the time since the end of its chain: everything that changed up to there
is imported.
"""

import math
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import median

from importer_pipeline.listing.snapshots import AudienceName

REPORT_AGAIN_SECONDS = 23.5 * 3600.0
"""Seconds after which an unchanged state is reported again: once a day, in the same hour."""

PAUSED_REMEDY = "; until then it is asked once a day, and by each sync that is started by hand"
"""The end of the remedy of a paused audience."""

_NUMBER = re.compile(r"\d+")


class State(Enum):
    """The state of an audience; the worst first."""

    FAILING = "failing"
    """The last attempt to import it failed."""
    PAUSED = "paused"
    """Its account's key was refused tick after tick: the schedule asks it once a day only."""
    LATE = "late"
    """No attempt failed, and its lag is too long."""
    UNSYNCED = "unsynced"
    """It has no chain: it needs a full sync, and the last attempt did not fail."""
    WELL = "well"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """The result of an attempt to import an audience."""

    error: str = ""
    """The class of its error; "" if it succeeded."""
    reason: str = ""
    """The problem, without personal data."""
    remedy: str = ""
    """What to do about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AudienceStatus:
    """The state of an audience at a moment."""

    name: AudienceName
    state: State
    imported_up_to: int | None
    """The end of its chain, in epoch seconds; None without a chain."""
    lag_seconds: float | None
    """Seconds since then; None without a chain."""
    error: str
    """The class of the error if it is failing; else ""."""
    reason: str
    """Why it is not well; "" if it is."""
    remedy: str
    since: float
    """When the state began, in epoch seconds."""

    @property
    def is_troubled(self) -> bool:
        """True if clients should know: an import failed, or it is late."""
        return self.is_failing or self.state is State.LATE

    @property
    def is_failing(self) -> bool:
        """True if the last attempt failed, be it paused since or not."""
        return self.state in (State.FAILING, State.PAUSED)

    def is_like(self, other: "AudienceStatus | None") -> bool:
        """Return whether the other has the same state for the same reason, whatever numbers the reason contains."""
        return other is not None and self.state is other.state and self._has_reason_of(other)

    def is_known_from(self, earlier: "AudienceStatus | None") -> bool:
        """Return whether it is in trouble as it was before, for the same reason, though it may be paused since."""
        if earlier is None or not self._has_reason_of(earlier):
            return False
        return self.state is earlier.state or (self.is_failing and earlier.is_failing)

    def _has_reason_of(self, other: "AudienceStatus") -> bool:
        if self.error != other.error:
            return False
        return _NUMBER.sub("#", self.reason) == _NUMBER.sub("#", other.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """The state of an audience as it was last reported."""

    status: AudienceStatus
    at: float
    """When that was, in epoch seconds."""
    in_all: bool
    """True if it was reported with all audiences, by `incremental_sync`; False if by a full sync of some."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The figures of all audiences at a moment."""

    counts: Mapping[State, int]
    """Number of audiences in each state."""
    median_lag_seconds: float
    """Of the audiences with a chain; 0 if there are none, as the next two."""
    p95_lag_seconds: float
    """A lag that at most 5 % of the audiences exceed."""
    max_lag_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What has changed since the last report."""

    new: tuple[AudienceStatus, ...]
    """Failing or late now, and not so before, or for another reason."""
    as_before: tuple[AudienceStatus, ...]
    """Failing or late now as before, for the same reason."""
    recovered: tuple[AudienceStatus, ...]
    """Failing or late before, and neither now."""
    paused: tuple[AudienceStatus, ...]
    """Paused now, and not so before."""


def status_of(
    name: AudienceName,
    *,
    imported_up_to: int | None,
    why_unsynced: str,
    attempt: Attempt | None,
    before: AudienceStatus | None,
    now: float,
    late_after_seconds: float,
) -> AudienceStatus:
    """Return the state of an audience.

    Args:
        name: of the audience.
        imported_up_to: the end of its chain, in epoch seconds; None without a chain.
        why_unsynced: why it has no chain; unused if it has one.
        attempt: the last attempt to import it in this run; None if there was none.
        before: its state as last reported.
        now: in epoch seconds.
        late_after_seconds: the longest lag of an audience that is not late.
    """
    lag = None if imported_up_to is None else max(0.0, now - imported_up_to)
    if attempt is None and before is not None and before.is_failing:
        # Not tried again: it still fails, unless another run has got further since.
        got_further = imported_up_to is not None and imported_up_to > (before.imported_up_to or 0)
        remedy = before.remedy.removesuffix(PAUSED_REMEDY)
        attempt = None if got_further else Attempt(error=before.error, reason=before.reason, remedy=remedy)
    if attempt is not None and attempt.error:
        state, error, reason, remedy = State.FAILING, attempt.error, attempt.reason, attempt.remedy
    elif lag is None:
        state, error, reason = State.UNSYNCED, "", f"it has no full sync to go on from: {why_unsynced}"
        remedy = "wait for hourly_first_sync, or run full_sync"
    elif lag > late_after_seconds:
        state, error = State.LATE, ""
        reason = f"nothing has been imported for more than {late_after_seconds / 3600:g} hours"
        remedy = "look at the newest runs of incremental_sync: they ended before its turn, or did not start"
    else:
        state, error, reason, remedy = State.WELL, "", "", ""
    return AudienceStatus(
        name=name,
        state=state,
        imported_up_to=imported_up_to,
        lag_seconds=lag,
        error=error,
        reason=reason,
        remedy=remedy,
        since=before.since if before is not None and before.state is state else now,
    )


def figures_of(statuses: Iterable[AudienceStatus]) -> Figures:
    """Return the figures of some audiences."""
    found = list(statuses)
    lags = sorted(it.lag_seconds for it in found if it.lag_seconds is not None)
    return Figures(
        counts={state: sum(it.state is state for it in found) for state in State},
        median_lag_seconds=median(lags) if lags else 0.0,
        p95_lag_seconds=lags[math.ceil(0.95 * len(lags)) - 1] if lags else 0.0,
        max_lag_seconds=lags[-1] if lags else 0.0,
    )


def compare(before: Mapping[AudienceName, Reported], now: Iterable[AudienceStatus]) -> Comparison:
    """Return what has changed since the last report of all audiences.

    Args:
        before: the states as last reported; audiences may be missing. What a full sync reported is still new.
        now: the states now.
    """
    new, as_before, recovered = list[AudienceStatus](), list[AudienceStatus](), list[AudienceStatus]()
    paused = list[AudienceStatus]()
    for status in now:
        reported = before.get(status.name)
        earlier = reported.status if reported is not None and reported.in_all else None
        if status.is_troubled:
            (as_before if status.is_known_from(earlier) else new).append(status)
            if status.state is State.PAUSED and (earlier is None or earlier.state is not State.PAUSED):
                paused.append(status)
        elif earlier is not None and earlier.is_troubled:
            recovered.append(status)
    return Comparison(new=tuple(new), as_before=tuple(as_before), recovered=tuple(recovered), paused=tuple(paused))


def is_to_report(status: AudienceStatus, before: Reported | None, *, now: float, in_all: bool) -> bool:
    """Return whether a state is to be reported: if it has changed, and once a day.

    Args:
        status: the state.
        before: the state as last reported.
        now: in epoch seconds.
        in_all: True if all audiences are reported, which makes a trouble known that only a full sync has reported.
    """
    if before is None or not status.is_like(before.status) or now - before.at >= REPORT_AGAIN_SECONDS:
        return True
    return in_all and status.is_troubled and not before.in_all


def worst_first(
    statuses: Iterable[AudienceStatus], quarantined: Container[AudienceName] = ()
) -> Sequence[AudienceStatus]:
    """Return the statuses by state, and within a state by lag: no chain, then the longest.

    Args:
        statuses: of the audiences.
        quarantined: audiences with entries in the quarantine, which come before the others of their state.
    """
    order = list(State)

    def badness(it: AudienceStatus) -> tuple[int, bool, float, str]:
        lag = math.inf if it.lag_seconds is None else it.lag_seconds
        return order.index(it.state), it.name not in quarantined, -lag, str(it.name)

    return sorted(statuses, key=badness)
