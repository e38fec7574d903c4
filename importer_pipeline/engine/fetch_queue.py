"""Decides which audience's page is requested next: the audiences that have one take turns. Pure.

A page is requested if its account has a free connection, the network in front of Mailchimp lets requests pass, and the
target of the audience has room for its contacts. Stays out: the meaning of the answer (`fetching.py`).
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from importer_pipeline.engine.audience_sync import AudienceSync, Fetch
from importer_pipeline.engine.concurrency import LimiterRegistry, account_limiter
from importer_pipeline.engine.edge import Edge
from importer_pipeline.engine.posting import Posting
from importer_pipeline.engine.services import Service, SyncLimits, Timers
from importer_pipeline.engine.time_budget import TimeBudget

_NOTE_AGAIN_SECONDS = 1.0
_CLOCKS_AGREE_SECONDS = 3.0


class Account:
    """A Mailchimp account in a sync.

    Attributes:
        service: its requests in flight, and what waits for a free connection.
        clients: the clients whose account it is.
        clock_ahead_seconds: how far Mailchimp's clock is ahead of ours, by its last answer; None before the first.
        failure_counted_at: when its last failure was counted, by the engine's clock.
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        self.clients: set[str] = set()
        self.clock_ahead_seconds: float | None = None
        self.failure_counted_at = -math.inf


@dataclass(eq=False, slots=True)
class _Readers:
    """The audiences of one target URL that may have a page to request, in turn.

    They wait together while the URL has no room: a thousand clients may share one, and each post makes some. Those with
    more pages than connections have a round of their own.
    """

    url: str
    round: deque["_Readers"]
    """The round in which they are offered."""
    audiences: deque[AudienceSync] = field(default_factory=deque[AudienceSync])
    offered: bool = False
    """True if they are in it."""
    noted_at: float = -math.inf
    """Time at which their waiting was last noted."""


class FetchQueue:
    """The audiences that have pages to request, and the accounts that they are requested from.

    Args:
        limits: how much at once.
        timers: calls that are due later.
        epoch_offset_seconds: seconds to add to the engine's clock to get epoch seconds.
        posting: holds back audiences whose target has no room.
        time: starts with an audience's first request.
        settled: called with an audience that has no page to request after all, and the time.
        note_activity: called with a client that waits for its turn at a shared target, and the time.

    Attributes:
        accounts: the accounts, by name.
        edge: the network in front of Mailchimp.
    """

    def __init__(
        self,
        *,
        limits: SyncLimits,
        timers: Timers,
        epoch_offset_seconds: float,
        posting: Posting,
        time: TimeBudget,
        settled: Callable[[AudienceSync, float], None],
        note_activity: Callable[[str, float], None],
    ) -> None:
        self._limits = limits
        self._timers = timers
        self._epoch_offset_seconds = epoch_offset_seconds
        self._posting = posting
        self._time = time
        self._settled = settled
        self._note_activity = note_activity
        self._rounds: tuple[deque[_Readers], deque[_Readers]] = (deque(), deque())
        self._long_next = False
        self._readers: dict[tuple[str, bool], _Readers] = {}
        self._offered: dict[AudienceSync, _Readers] = {}
        self._winding_down = False
        self._in_flight = 0
        self._opens_at = -math.inf
        self._answered_last: Account | None = None
        self._usually_ahead_seconds = 0.0
        self.accounts: dict[str, Account] = {}
        self.edge = Edge(first_pause_seconds=limits.first_pause_seconds)

    def enter(self, audience: AudienceSync, limiters: LimiterRegistry) -> None:
        """Add an audience."""
        plan = audience.plan
        if plan.account not in self.accounts:
            limiter = limiters.of(
                account_limiter(plan.account), plan.account_connections, throttling=self._limits.throttling
            )
            self.accounts[plan.account] = Account(Service(limiter, self._timers))
        self.accounts[plan.account].clients.add(plan.name.client)
        self.offer(audience)

    def account_of(self, audience: AudienceSync) -> Account:
        """Return the account that an audience is read from."""
        return self.accounts[audience.plan.account]

    def offer(self, audience: AudienceSync) -> None:
        """Add an audience that may have a page to request to the round."""
        # Whoever has many pages takes longest: were it to take turns with a thousand small ones, most of its connections
        # would be idle until these are done.
        url, is_long = audience.plan.target, audience.ready > audience.plan.account_connections
        if (url, is_long) not in self._readers:
            self._readers[url, is_long] = _Readers(url, self._rounds[is_long])
        readers = self._readers[url, is_long]
        if self._offered.get(audience) is not readers:
            self._offered[audience] = readers
            readers.audiences.append(audience)
            self._offer_readers(readers)

    def note_clock(self, account: Account, ahead_seconds: float) -> None:
        """Note how far Mailchimp's clock is ahead of ours, by an answer to an account.

        Where two accounts in a row agree, it is our clock that is off, and the others' are expected to be so, too.
        """
        account.clock_ahead_seconds = ahead_seconds
        if account is not self._answered_last:
            last, self._answered_last = self._answered_last, account
            known = None if last is None else last.clock_ahead_seconds
            agrees = known is not None and abs(ahead_seconds - known) <= _CLOCKS_AGREE_SECONDS
            self._usually_ahead_seconds = ahead_seconds if agrees else 0.0

    def wind_down(self) -> None:
        """Return no more requests."""
        self._winding_down = True

    def connection_freed(self, fetch: Fetch, now: float) -> None:
        """Free a request's connection."""
        self._in_flight -= 1
        self.account_of(fetch.audience).service.release(now)

    def take(self, now: float) -> Fetch | None:
        """Return a page request of the next audience in the round that has one, a connection and room."""
        while any(self._rounds) and self._in_flight < self._limits.connections and not self._winding_down:
            if (opens_at := self.edge.opens_at(now, in_flight=self._in_flight)) > now:
                if self._opens_at < opens_at:  # Ask again then.
                    self._opens_at = opens_at
                    self._timers.at(opens_at, lambda _: None)
                return None
            if (audience := self._next_reader(now)) is None:
                continue
            account = self.account_of(audience)
            if not audience.has_ready:
                self._settled(audience, now)  # A resumed one may have nothing to read.
                continue
            if not self._posting.has_room(audience):
                self._note_activity(audience.plan.name.client, now)  # It waits its turn at a target that others share.
                self._posting.park(audience, now, lambda _, audience=audience: self.offer(audience))
            elif not account.service.acquire(now):
                account.service.park(now, lambda _, audience=audience: self.offer(audience))
            else:
                fetch = audience.next(now, now + self._epoch_offset_seconds + self._clock_ahead_seconds(account))
                self.offer(audience)
                if fetch is not None:
                    self._in_flight += 1
                    self.edge.note_sent(now)
                    self._time.start(audience, now)
                    return fetch
                account.service.release(now)
        return None

    def _clock_ahead_seconds(self, account: Account) -> float:
        """Return how far an account's clock is ahead of ours: before its first answer, as usual."""
        return self._usually_ahead_seconds if account.clock_ahead_seconds is None else account.clock_ahead_seconds

    def _next_reader(self, now: float) -> AudienceSync | None:
        """Take the next audience out of its round; None if it can't be read now, for which it waits elsewhere."""
        self._long_next = not self._long_next
        readers = (self._rounds[self._long_next] or self._rounds[not self._long_next]).popleft()
        readers.offered = False
        if self._posting.is_full(readers.url):
            if now >= readers.noted_at + _NOTE_AGAIN_SECONDS:
                readers.noted_at = now
                for audience in readers.audiences:
                    self._note_activity(audience.plan.name.client, now)  # It waits its turn, and does not stall.
            self._posting.park_all(readers.url, now, lambda _, readers=readers: self._offer_readers(readers))
            return None
        audience = readers.audiences.popleft()
        self._offer_readers(readers)
        if self._offered.get(audience) is not readers:
            return None  # It has become long meanwhile, or short, and is in the other round.
        del self._offered[audience]
        return audience

    def _offer_readers(self, readers: _Readers) -> None:
        if readers.audiences and not readers.offered:
            readers.offered = True
            readers.round.append(readers)
