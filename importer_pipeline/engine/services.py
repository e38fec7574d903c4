"""What the engine calls (Mailchimp accounts and targets), how much at once, and what rests until later. Pure."""

import heapq
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from importer_pipeline.engine.concurrency import ConcurrencyLimiter, ThrottlePolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncLimits:
    """Limits: how much a sync does at once, and how long it keeps trying."""

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
    """The rest before the first retry; doubled with each further one, and up to a quarter longer."""
    failures_in_a_row: int = 3
    """Windows in a row without a success after which an account or a target is left alone."""
    suspect_retries: int = 1
    """Retries of a request for a part of what failed repeatedly: of a page, or of a batch narrowed down to one contact."""
    clock_tolerance_seconds: float = 900.0
    """Tolerated difference between Mailchimp's clock and ours; an answer that claims more is a broken one."""
    run_seconds: float = math.inf
    """After how long nothing more is started: what is left is the next run's."""
    stall_seconds: float = 900.0
    """After how long without a good answer an audience is left to the next run."""
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
    """An account or a target URL: how many requests of ours are on the wire, and who waits until one more may be.

    Whoever finds it busy parks a call here. It is made when a request is done; if none of ours is in flight (another
    sync in this process has them all), after a moment, or when the rest after a 429 is over.
    """

    limiter: ConcurrencyLimiter
    timers: Timers
    in_flight: int = 0
    """Our own requests in flight; `concurrency` may count others' too."""
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

    def release(self, now: float) -> None:
        """Note that a request is no longer in flight."""
        self.limiter.release()
        self.in_flight -= 1
        self.unpark(now)

    def park(self, now: float, call: Callable[[float], None]) -> None:
        """Make `call` when it may be less busy."""
        self._parked.append(call)
        if self.in_flight == 0 and len(self._parked) == 1:
            self.timers.at(max(now + self._MOMENT_SECONDS, self.limiter.paused_until), self.unpark)

    def unpark(self, now: float) -> None:
        """Make the parked calls."""
        calls, self._parked = self._parked, []
        for call in calls:
            call(now)
