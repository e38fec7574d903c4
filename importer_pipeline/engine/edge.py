"""The network in front of Mailchimp, which may block this machine's address, for all accounts. Pure.

If it rejects the requests of one account only, that account may be the cause. If it rejects two accounts in a row,
without a good answer to any other in between, our address is the cause: then all accounts wait together, one request is
retried after growing pauses, and at last the run ends for all of them. So a block costs a handful of requests, not some
for each account.
"""

import math

MAX_REJECTIONS = 5
"""Tries, one after the other, after which the address counts as blocked."""

_MAX_AT_FIRST = 3
"""Requests in flight before anyone has got a good answer."""

_PROBE_SECONDS = 30.0
"""Wait for an answer before the next request is sent, while one at a time is sent."""

_FIRST_SECONDS = 5.0
"""Duration of that limit: accounts that hang may not keep the others waiting."""


class Edge:
    """The state of the edge: open, on probation, or blocked.

    Args:
        first_pause_seconds: the pause before one request is retried; doubled with each further one.
    """

    def __init__(self, *, first_pause_seconds: float) -> None:
        self._first_pause_seconds = first_pause_seconds
        self._began_at: float | None = None
        self._is_proven = False
        self._accounts: set[str] = set()
        self._rejections = 0
        self._paused_until = 0.0
        self._changed_at = 0.0
        self._probed_at = -math.inf

    @property
    def is_blocked(self) -> bool:
        """True if our address has been turned away repeatedly."""
        return self._rejections >= MAX_REJECTIONS

    def opens_at(self, now: float, *, in_flight: int) -> float:
        """Return when one more request may be sent at the earliest: now, or later.

        Args:
            now: seconds of a clock that only goes forward.
            in_flight: requests to Mailchimp that are under way.
        """
        if self._began_at is None:
            self._began_at = now
        if self._rejections:
            return self._paused_until if self._probed_at < self._changed_at else self._probed_at + _PROBE_SECONDS
        settled_at = self._began_at + _FIRST_SECONDS
        return now if self._is_proven or in_flight < _MAX_AT_FIRST else max(now, settled_at)

    def note_sent(self, now: float) -> None:
        """Note that a request was sent."""
        self._probed_at = now

    def answered(self) -> None:
        """Note an answer of Mailchimp's own."""
        self._is_proven = True
        self._rejections = 0
        self._accounts.clear()

    def turned_away(self, account: str, *, requested_at: float, now: float) -> float | None:
        """Note that a request of an account was turned away.

        Requests that were already in flight when the last one was turned away are not counted.

        Returns:
            the time at which it may be sent again; None if only its account is concerned.
        """
        self._accounts.add(account)
        if len(self._accounts) < 2:
            return None
        if requested_at >= self._changed_at:
            self._rejections += 1
            self._changed_at = now
            self._paused_until = now + self._first_pause_seconds * 2.0 ** (self._rejections - 1)
        return self._paused_until
