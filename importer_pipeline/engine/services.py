"""The services that the engine calls (Mailchimp accounts and targets), the limits of a sync, and timers. Pure."""

import heapq
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from importer_pipeline.engine.concurrency import ConcurrencyLimiter, ThrottlePolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncLimits:
    """Limits: concurrency, retries, pauses and times of a sync."""

    connections: int = 100
    """Requests to Mailchimp in flight at once, for the whole process."""
    target_posts: int = 10
    """Posts to one target URL in flight at once."""
    undelivered_pages: int = 40
    """Full pages' worth of contacts that may wait for one target URL before reading for it pauses."""
    post_records: int = 1000
    """Records of one post, where small pages of an audience go together."""
    isolation_posts: int = 64
    """Posts that finding the refused contacts of a page may take beyond the first."""
    retries: int = 3
    """Retries of a request."""
    first_pause_seconds: float = 5.0
    """The pause before the first retry; doubled with each further one, and up to a quarter longer."""
    failures_in_a_row: int = 3
    """Consecutive failed windows after which an account or a target is abandoned."""
    suspect_retries: int = 1
    """Retries of a request for a part of what failed repeatedly: part of a page, or a single contact of a batch."""
    clock_tolerance_seconds: float = 900.0
    """Tolerated difference between Mailchimp's clock and ours; an answer that claims more is doubted."""
    run_seconds: float = math.inf
    """Time after which nothing more is started: the next run continues."""
    stall_seconds: float = 900.0
    """Time without a good answer after which an audience is left to the next run."""
    throttling: ThrottlePolicy = field(default_factory=ThrottlePolicy)
    """Reaction to 429s."""

    def pause_seconds(self, tries: int, rng: Random) -> float:
        """Return the pause after so many failed tries, with jitter so that not all come back at one moment."""
        return self.first_pause_seconds * 2.0 ** (tries - 1) * (1 + rng.random() / 4)


class Timers:
    """Calls that are due later."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[float], None]]] = []
        self._numbers = itertools.count()

    @property
    def next(self) -> float | None:
        """Time at which the next call is due."""
        return self._heap[0][0] if self._heap else None

    def at(self, due: float, call: Callable[[float], None]) -> None:
        """Make `call` with the time then, once `run` finds it due."""
        heapq.heappush(self._heap, (due, next(self._numbers), call))

    def run(self, now: float) -> None:
        """Make the calls that are due."""
        while self._heap and self._heap[0][0] <= now:
            heapq.heappop(self._heap)[2](now)


@dataclass(eq=False, slots=True)
class Service:
    """An account or a target URL: our requests in flight, and the calls that wait for a free connection.

    A caller that finds it busy parks a call here. It is made when a request is done; if none of ours is in flight,
    because another sync in this process has all connections, after a moment, or when the pause after a 429 ends.
    """

    limiter: ConcurrencyLimiter
    timers: Timers
    in_flight: int = 0
    """Our own requests in flight; `limiter` also counts those of other syncs."""
    failures_in_a_row: int = 0
    """Windows that failed since the last success."""
    _parked: list[Callable[[float], None]] = field(default_factory=list[Callable[[float], None]])

    _MOMENT_SECONDS = 0.2

    def acquire(self, now: float) -> bool:
        """Count one more request as in flight, if there is a connection for it."""
        if not self.limiter.acquire(now):
            return False
        self.in_flight += 1
        return True

    def put_back(self, now: float) -> None:
        """Note that there was no request after all."""
        self.limiter.put_back()
        self.in_flight -= 1
        self.unpark(now)

    def release(self, now: float) -> None:
        """Note that a request is no longer in flight."""
        self.limiter.release()
        self.in_flight -= 1
        self.unpark(now)

    def park(self, now: float, call: Callable[[float], None]) -> None:
        """Make `call` when it may be less busy."""
        self._parked.append(call)
        if len(self._parked) > 1:
            return
        if self.in_flight == 0:
            soonest = max(now + self._MOMENT_SECONDS, self.limiter.paused_until)
            self.timers.at(max(soonest, self.limiter.next_at), self.unpark)
        elif self.limiter.next_at > now:
            self.timers.at(self.limiter.next_at, self.unpark)

    def unpark(self, now: float) -> None:
        """Make the parked calls."""
        calls, self._parked = self._parked, []
        for call in calls:
            call(now)
