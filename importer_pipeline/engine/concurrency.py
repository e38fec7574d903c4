"""Limits the requests in flight for each account and each target, whoever sends them.

Mailchimp allows ten requests in progress for each user account, which the client's other tools share (D), and answers
429 beyond. No Retry-After is documented or was seen there; targets send one. So a 429 takes one connection away, the
pause that an answer requests is kept, and a time without a 429 gives the connection back.
"""

import math
import threading
from collections.abc import Generator, Hashable
from contextlib import contextmanager
from dataclasses import dataclass

from importer_pipeline.engine.audience_plan import TargetRules

_TURN_SECONDS = 1.0
"""How long a connection is kept for a sync that was refused one: a sync that waits asks more often than that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThrottlePolicy:
    """Policy for reacting to 429s."""

    pause_seconds: float = 2.0
    """Pause of an account after a 429; doubled with each further one without a success in between, up to
    `longest_pause_seconds`."""
    longest_pause_seconds: float = 15.0
    """The longest pause of that kind."""
    quiet_seconds: float = 30.0
    """Time without a 429 after which a connection is given back."""
    longest_retry_after_seconds: float = 600.0
    """The longest pause that is granted to an answer with `Retry-After`."""
    give_up_seconds: float = 300.0
    """Time of nothing but 429s after which the account is abandoned. Pauses that the answers requested are not counted,
    up to `longest_retry_after_seconds` in all: a server that requests more without ever answering is abandoned, too."""


class ConcurrencyLimiter:
    """The connections of one account or one target.

    There is only one connection until the first answer: a wrong key, a hanging host or an unknown one costs one request
    instead of ten. Safe to use from several threads.

    Args:
        limit: maximum number of connections.
        throttling: the reaction to 429s.
        per_second: maximum rate of requests; None for any.
    """

    def __init__(self, limit: int, *, throttling: ThrottlePolicy, per_second: float | None = None) -> None:
        self._lock = threading.Lock()
        self._most = limit
        self._limit = limit
        self._policy = throttling
        self._proven = False
        self._paused_until = 0.0
        self._spacing_seconds = 1.0 / per_second if per_second else 0.0
        self._next_at = -math.inf
        self._granted_until = 0.0
        self._granted_seconds = 0.0
        self._refused_in_a_row = 0
        self._refused_since: float | None = None
        self._changed_at = 0.0
        self._queued = 0
        self._queue_is_next = True
        self._sync_refused_at = -math.inf
        self.in_use = 0

    @property
    def paused_until(self) -> float:
        """End of the pause after a 429, during which there are no connections."""
        with self._lock:
            return self._paused_until

    @property
    def next_at(self) -> float:
        """Earliest time of the next request by the maximum rate."""
        with self._lock:
            return self._next_at

    def acquire(self, now: float) -> bool:
        """Take a connection for a sync, if one is free at `now` (seconds of a clock that only goes forward).

        A sync asks again when it has given one back, so it would always be there first. Callers that are `queued` get
        every other connection instead.
        """
        with self._lock:
            if not self._is_free(now) or (self._queued and self._queue_is_next):
                self._sync_refused_at = now
                return False
            self._sync_refused_at = -math.inf
            self._queue_is_next = True
            self._take(now)
            return True

    def acquire_queued(self, now: float) -> bool:
        """Take a connection for a caller that is `queued`, if one is free at `now` and no sync has the next turn."""
        with self._lock:
            sync_waits = now - self._sync_refused_at <= _TURN_SECONDS
            if not self._is_free(now) or (sync_waits and not self._queue_is_next):
                return False
            self._queue_is_next = False
            self._take(now)
            return True

    @contextmanager
    def queued(self) -> Generator[None]:
        """Count the caller as waiting, so that a sync leaves it every other connection."""
        with self._lock:
            self._queued += 1
        try:
            yield
        finally:
            with self._lock:
                self._queued -= 1

    def release(self) -> None:
        """Give a connection back: its request is no longer in flight."""
        with self._lock:
            self.in_use -= 1

    def put_back(self) -> None:
        """Give a connection back for which there was no request after all."""
        with self._lock:
            self.in_use -= 1
            self._next_at -= self._spacing_seconds

    def pause(self, seconds: float, *, now: float) -> None:
        """Pause as long as an answer requests that refuses nothing."""
        with self._lock:
            until = now + min(seconds, self._policy.longest_retry_after_seconds)
            self._paused_until = max(self._paused_until, until)

    def answered(self) -> None:
        """Note an answer other than 429."""
        with self._lock:
            self._proven = True
            self._refused_in_a_row = 0
            self._refused_since = None
            self._granted_until = self._granted_seconds = 0.0

    def refused(self, *, requested_at: float, now: float, retry_after_seconds: float | None = None) -> float:
        """Note a 429 to the request of `requested_at`: one connection fewer, and a pause.

        Requests that were already in flight when the last connection was taken away take none, because their 429s are
        no news. A pause that any of them requests is kept.

        Args:
            requested_at: when the request was sent.
            now: when the answer came.
            retry_after_seconds: the pause that the answer requests; None if it requests none.

        Returns:
            the time at which the next request may be sent.
        """
        with self._lock:
            policy = self._policy
            if self._refused_since is None:
                self._refused_since = requested_at
            if requested_at >= self._changed_at:
                self._limit = max(1, self._limit - 1)
                self._changed_at = now
                pause = policy.pause_seconds * 2.0 ** min(self._refused_in_a_row, 16)
                self._refused_in_a_row += 1
                self._paused_until = max(self._paused_until, now + min(pause, policy.longest_pause_seconds))
            if retry_after_seconds is not None:
                self._grant(min(retry_after_seconds, policy.longest_retry_after_seconds), now)
            return self._paused_until

    def exhausted(self, now: float) -> bool:
        """Return whether only 429s have come for too long."""
        with self._lock:
            granted_seconds = min(self._granted_seconds, self._policy.longest_retry_after_seconds)
            limit_seconds = self._policy.give_up_seconds + granted_seconds
            return self._refused_since is not None and now - self._refused_since >= limit_seconds

    def _grant(self, seconds: float, now: float) -> None:
        """Pause as long as an answer requests. Overlapping pauses are counted once."""
        until = now + seconds
        self._granted_seconds += max(0.0, until - max(now, self._granted_until))
        self._granted_until = max(self._granted_until, until)
        self._paused_until = max(self._paused_until, until)

    def _take(self, now: float) -> None:
        self.in_use += 1
        self._next_at = max(now, self._next_at) + self._spacing_seconds

    def _is_free(self, now: float) -> bool:
        if now < self._paused_until or now < self._next_at:
            return False
        self._recover(now)
        return self.in_use < (self._limit if self._proven else 1)

    def _recover(self, now: float) -> None:
        while self._limit < self._most and now - self._changed_at >= self._policy.quiet_seconds:
            self._limit += 1
            self._changed_at += self._policy.quiet_seconds


def account_limiter(account: str) -> Hashable:
    """Return the name of a Mailchimp account's limiter, from the account's name."""
    return "account", account


class LimiterRegistry:
    """The `ConcurrencyLimiter` of each account and target, by name: all syncs of a process share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_name: dict[Hashable, ConcurrencyLimiter] = {}

    def of(
        self, name: Hashable, limit: int, *, throttling: ThrottlePolicy, per_second: float | None = None
    ) -> ConcurrencyLimiter:
        """Return the limiter of `name`; its limits are those of the first call."""
        with self._lock:
            limiter = ConcurrencyLimiter(limit, throttling=throttling, per_second=per_second)
            return self._by_name.setdefault(name, limiter)

    def of_target(
        self, url: str, client: str, rules: TargetRules, *, max_posts: int, throttling: ThrottlePolicy
    ) -> tuple[ConcurrencyLimiter, ConcurrencyLimiter]:
        """Return the limiters of a post: the target URL's, which all share, and that of the client's account there.

        Args:
            url: the target's URL.
            client: the client's name.
            rules: what the target allows.
            max_posts: maximum number of posts in flight to the URL.
            throttling: the reaction to 429s.
        """
        account = self.of(
            ("target", url, rules.account or client),
            min(max_posts, rules.posts_at_once or max_posts),
            throttling=throttling,
            per_second=rules.posts_per_second,
        )
        return self.of(("target", url), max_posts, throttling=throttling), account
