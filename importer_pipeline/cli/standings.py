"""How far an audience is, judged and sorted for an operator: the worst comes first. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum

from importer_pipeline.planning.pausing import RefusedAccount

_MAX_UNIT = 48


class State(IntEnum):
    """What an operator has to do about an audience; the worst first."""

    PAUSED = 0
    """Its account's key was refused tick after tick."""
    UNSYNCED = 1
    """It needs a full sync."""
    LATE = 2
    """Its last incremental sync is too long ago."""
    QUARANTINED = 3
    """Something of it is in the quarantine."""
    WELL = 4


STATE_WORDS = {
    State.PAUSED: "PAUSED",
    State.UNSYNCED: "NOT SYNCED",
    State.LATE: "LATE",
    State.QUARANTINED: "QUARANTINE",
    State.WELL: "ok",
}
"""The words for each state."""

REDRIVE = "dagster job execute -m importer_pipeline -j redrive_quarantine"
"""The command that retries what is in the quarantine."""

REMEDIES = {
    State.PAUSED: "correct the key, then: importer sync; until then it is asked once a day",
    State.UNSYNCED: "a full sync imports it: importer sync --full",
    State.LATE: "check the error of the last incremental_sync, and that the daemon and the hourly schedules are on",
    State.QUARANTINED: f"see the reasons in the asset quarantine, correct them, then: {REDRIVE}",
    State.WELL: "",
}
"""What to do in each state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far an audience is.

    Attributes:
        audience: as "client/audience".
        full_sync_at: when its last complete full sync was recorded, in epoch seconds; None if it never was.
        watermark: the last second that is imported; None without a chain.
        lag_seconds: from its watermark until now; None without one.
        quarantined: windows, hours and contacts in the quarantine, as contacts and others.
        state: what to do about it.
        reason: why it is in that state; "" if it is well.
    """

    audience: str
    full_sync_at: float | None
    watermark: int | None
    lag_seconds: float | None
    quarantined: tuple[int, int]
    state: State
    reason: str

    @property
    def remedy(self) -> str:
        """The remedy; "" if it is well."""
        return REMEDIES[self.state]


def standing_of(
    audience: str,
    *,
    full_sync_at: float | None,
    watermark: int | None,
    why_unsynced: str,
    why_paused: str,
    quarantined: tuple[int, int],
    now: float,
    late_after_seconds: float,
) -> Standing:
    """Judge how far an audience is.

    Args:
        audience: as "client/audience".
        full_sync_at: when its last complete full sync was recorded, in epoch seconds.
        watermark: the last second that is imported, in epoch seconds; None without a chain.
        why_unsynced: why there is no chain.
        why_paused: why its account is paused; "" if it is not.
        quarantined: number of contacts, and of windows and hours, in the quarantine.
        now: epoch seconds.
        late_after_seconds: lag from which it is late.
    """
    lag_seconds = None if watermark is None else max(0.0, now - watermark)
    state, reason = State.WELL, ""
    if why_paused:
        state, reason = State.PAUSED, why_paused
    elif lag_seconds is None:
        state, reason = State.UNSYNCED, why_unsynced
    elif lag_seconds > late_after_seconds:
        state, reason = State.LATE, f"no change is imported since {duration(lag_seconds)}"
    elif any(quarantined):
        state, reason = State.QUARANTINED, f"in the quarantine: {quarantine_in_words(quarantined)}"
    return Standing(
        audience=audience, full_sync_at=full_sync_at, watermark=watermark, lag_seconds=lag_seconds,
        quarantined=quarantined, state=state, reason=reason,
    )  # fmt: skip


def worst_first(standings: Iterable[Standing]) -> list[Standing]:
    """Sort: by state, then the longest lag, then the largest quarantine."""
    return sorted(
        standings, key=lambda it: (it.state, -(it.lag_seconds or 0.0), tuple(-n for n in it.quarantined), it.audience)
    )


def quarantine_in_words(quarantined: tuple[int, int]) -> str:
    """Return the numbers of contacts, and of windows and hours, in words; "" for none."""
    contacts, parts = quarantined
    words = [_count(contacts, "contact"), _count(parts, "window or hour", "windows or hours")]
    return ", ".join(word for word in words if word)


def why_paused(account: RefusedAccount | None) -> str:
    """Return why an account is paused, as a sentence; "" for none."""
    return "" if account is None else f"its account's key is refused since {moment(account.since)}"


def moment(epoch_seconds: float | None) -> str:
    """Return a time in UTC to the minute; "-" for none."""
    return "-" if epoch_seconds is None else datetime.fromtimestamp(epoch_seconds, UTC).strftime("%Y-%m-%d %H:%M")


def duration(seconds: float) -> str:
    """Return a duration in the unit that fits: `35 min`, `26 h`, `4 days`."""
    hours = seconds / 3600
    if hours < 2:
        return f"{int(seconds / 60)} min"
    return f"{int(hours)} h" if hours < _MAX_UNIT else f"{int(hours / 24)} days"


def _count(number: int, one: str, several: str = "") -> str:
    return f"{number:,} {one if number == 1 else several or one + 's'}" if number else ""
