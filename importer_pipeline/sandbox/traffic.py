"""Counts the requests of one account or one target: in progress, refused, and how long it was busy."""

import heapq
import threading
from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficFigures:
    """The counts of a `Traffic`.

    Attributes:
        requests: number of requests by route, refused ones included.
        answers: number of answers by status.
        refused_429: number of requests that found all slots taken.
        in_progress: number under way now, those whose caller has gone included.
        peak_in_progress: maximum number under way at once.
        busy_seconds: the integral of `in_progress` over time: 20 for ten connections busy for two seconds.
        first_at: time of the first request, epoch seconds; None before it.
        last_at: time at which the last one came or ended, epoch seconds; None before it.
        bytes_sent: bytes of all bodies sent.
    """

    requests: dict[str, int]
    answers: dict[int, int]
    refused_429: int
    in_progress: int
    peak_in_progress: int
    busy_seconds: float
    first_at: float | None
    last_at: float | None
    bytes_sent: int


class Traffic:
    """Counts requests in progress against a limit. Safe from any thread.

    Args:
        limit: maximum number in progress at once; None for any number.
    """

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._requests: Counter[str] = Counter()
        self._answers: Counter[int] = Counter()
        self._refused = self._in_progress = self._peak = self._bytes = 0
        self._busy_seconds = 0.0
        self._first: float | None = None
        self._last: float | None = None
        self._ghosts: list[float] = []

    def arrive(self, route: str, now: float) -> bool:
        """Count a request in; return False if all slots are taken, and then it must not leave."""
        with self._lock:
            self._settle(now)
            self._first = now if self._first is None else self._first
            self._last = now
            self._requests[route] += 1
            if self.limit is not None and self._in_progress >= self.limit:
                self._refused += 1
                self._answers[429] += 1
                return False
            self._in_progress += 1
            self._peak = max(self._peak, self._in_progress)
            return True

    def leave(self, now: float, *, status: int, bytes_sent: int) -> None:
        """Count a request as answered and free its slot."""
        with self._lock:
            self._settle(now)
            self._in_progress -= 1
            self._answers[status] += 1
            self._bytes += bytes_sent

    def abandon(self, now: float, *, until: float) -> None:
        """Count a request whose caller has gone; it keeps its slot until that moment (D)."""
        with self._lock:
            self._settle(now)
            heapq.heappush(self._ghosts, until)
            self._settle(now)

    def figures(self, now: float) -> TrafficFigures:
        """Return all figures as of now."""
        with self._lock:
            self._settle(now)
            return TrafficFigures(
                requests=dict(self._requests), answers=dict(self._answers), refused_429=self._refused,
                in_progress=self._in_progress, peak_in_progress=self._peak, busy_seconds=self._busy_seconds,
                first_at=self._first, last_at=self._last, bytes_sent=self._bytes,
            )  # fmt: skip

    def reset(self) -> None:
        """Forget what is over; what is in progress stays."""
        with self._lock:
            self._requests.clear()
            self._answers.clear()
            self._refused = self._bytes = 0
            self._busy_seconds, self._peak = 0.0, self._in_progress
            self._first = self._last = None

    def _settle(self, now: float) -> None:
        """Move the clock to now, past the moments at which abandoned requests end."""
        while self._ghosts and self._ghosts[0] <= now:
            self._pass_to(heapq.heappop(self._ghosts))
            self._in_progress -= 1
        self._pass_to(now)

    def _pass_to(self, moment: float) -> None:
        if self._last is not None and moment > self._last:
            self._busy_seconds += self._in_progress * (moment - self._last)
        if self._in_progress and (self._last is None or moment > self._last):
            self._last = moment
