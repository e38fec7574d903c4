"""The time that a sync may take, and how long an audience may go without a good answer. Pure."""

import math
from collections.abc import Iterable, Iterator

from importer_pipeline.engine.audience_sync import AudienceSync
from importer_pipeline.engine.services import SyncLimits
from importer_pipeline.errors import TimeUsedUp


class TimeBudget:
    """The time of a run and of each of its audiences.

    Args:
        limits: how long a run may take, and how long an audience may stall.
        began_at: start of the run, by the engine's clock; None for the first check.
    """

    def __init__(self, limits: SyncLimits, *, began_at: float | None) -> None:
        self._limits = limits
        self._began_at = began_at
        self._check_at = -math.inf
        self._active_at: dict[AudienceSync, float] = {}

    def start(self, audience: AudienceSync, now: float) -> None:
        """Start an audience's time with its first request."""
        self._active_at.setdefault(audience, now)

    def note_progress(self, audience: AudienceSync, now: float) -> None:
        """Note an answer that shows that an audience does not stall."""
        self._active_at[audience] = now

    def note_progress_of_started(self, audiences: Iterable[AudienceSync], now: float) -> None:
        """Note the same of those among several audiences whose time has started."""
        self._active_at.update((audience, now) for audience in audiences if audience in self._active_at)

    def overdue(self, audiences: Iterable[AudienceSync], now: float) -> Iterator[tuple[AudienceSync, TimeUsedUp]]:
        """Yield the audiences to leave now, each with the reason. Most calls return at once: checks are rare."""
        limits = self._limits
        if self._began_at is None:
            self._began_at = now
        if now < self._check_at:
            return
        ends_at = self._began_at + limits.run_seconds
        self._check_at = min(now + limits.stall_seconds / 10, ends_at if now < ends_at else math.inf)
        for audience in list(audiences):
            if now >= ends_at:
                problem = f"the run reached its time limit of {limits.run_seconds / 60:g} minutes"
            elif now >= self._active_at.get(audience, now) + limits.stall_seconds:
                problem = f"the audience made no progress for {limits.stall_seconds / 60:g} minutes"
            else:
                continue
            yield audience, TimeUsedUp(problem, remedy="the next run imports the rest")
