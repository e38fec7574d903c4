"""The engine: many audiences of many accounts at once. Which request next, and what an answer means.

A plain object without threads, clock or sleep: `workers` drives it in production, a seeded loop in the simulation. Both ask
`take` for a request, carry it out, and tell what came of it. Two things are on their way at once: pages from Mailchimp
(`Fetch`) and batches to the targets (`Post`; `Probe` where it holds no contact), so reading and delivering overlap. This
module is the Mailchimp side, and `posting` the other.

What failed stays small: a page is tried again, then what is around its trouble is read; an account or a key that is of no use
stops its clients; the others never wait for any of it, because a request that rests holds no connection. What an answer claims
is doubted before it is believed: its clock, how many contacts there are, and that there are none.
"""

import math
from collections import Counter, deque
from collections.abc import Sequence
from random import Random

from importer_pipeline.engine.answer_doubts import doubt_clock, doubt_size, page_too_short
from importer_pipeline.engine.audience_plan import AudiencePlan
from importer_pipeline.engine.audience_sync import AudienceSync, Fetch
from importer_pipeline.engine.concurrency import LimiterRegistry, account_limiter
from importer_pipeline.engine.edge import Edge
from importer_pipeline.engine.outcomes import Outcome, Progress
from importer_pipeline.engine.pages import Page
from importer_pipeline.engine.posting import Posting
from importer_pipeline.engine.posts import Post, Probe
from importer_pipeline.engine.services import Service, SyncLimits, Timers
from importer_pipeline.engine.time_budget import TimeBudget
from importer_pipeline.errors import (
    AccountBusy,
    AccountDown,
    AddressBlocked,
    BrokenAnswer,
    ClockDoubtful,
    ClocksDisagree,
    ImporterError,
    StopAudience,
    StopClient,
    TooManyRequests,
    TooSlow,
    TriesUsedUp,
    TryAgain,
    TurnedAway,
)
from importer_pipeline.listing.coverage import Paging
from importer_pipeline.records.receipt import Receipt


class _Account:
    """A Mailchimp account in a sync."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.clients: set[str] = set()
        self.clock_ahead_seconds = 0.0
        self.failure_counted_at = -math.inf


class Sync:
    """A sync of many audiences.

    Args:
        plans: the audiences, each once.
        paging: how they are cut into windows.
        limits: how much at once, and how long.
        book: the counts of connections, shared by everything in the process.
        rng: for the jitter of pauses.
        epoch_offset_seconds: what to add to the clock that is handed in, which only goes forward, to get epoch seconds.
        began_at: since when the time counts that the run may take, by that clock; None for the first look at it.

    Attributes:
        outcomes: what has happened since this was last emptied by the caller.
    """

    def __init__(
        self,
        plans: Sequence[AudiencePlan],
        *,
        paging: Paging,
        limits: SyncLimits,
        book: LimiterRegistry,
        rng: Random,
        epoch_offset_seconds: float,
        began_at: float | None = None,
    ) -> None:
        self._limits = limits
        self._small_page = paging.page_size // 5
        self._rng = rng
        self._epoch_offset_seconds = epoch_offset_seconds
        self._timers = Timers()
        self._posting = Posting(
            limits=limits,
            page_size=paging.page_size,
            timers=self._timers,
            rng=rng,
            stop_client=self.stop_client,
            settled=self._settle,
        )
        self._accounts: dict[str, _Account] = {}
        self._clients: dict[str, list[AudienceSync]] = {}
        self._round: deque[AudienceSync] = deque()
        self._offered: set[AudienceSync] = set()
        self._winding_down = False
        self._fetching = 0
        self._in_flight: Counter[AudienceSync] = Counter()
        self.outcomes: deque[Outcome] = deque()
        self._audiences = [
            AudienceSync(plan, paging=paging, snapshot_id=f"{rng.getrandbits(64):016x}") for plan in plans
        ]
        self._open = dict.fromkeys(self._audiences)  # In order, so that a seed is replayed alike.
        self._edge = Edge(first_pause_seconds=limits.first_pause_seconds)
        self._opens_at = -math.inf
        self._time = TimeBudget(limits, began_at=began_at)
        for audience in self._audiences:
            self._enter(audience, book)

    @property
    def finished(self) -> bool:
        """True if every audience is done."""
        return not self._open

    @property
    def progress(self) -> Progress:
        """Progress of the sync so far."""
        return Progress(
            contacts=sum(audience.contacts for audience in self._audiences),
            # Windows overlap, so that a few contacts are taken twice.
            accepted=sum(min(audience.accepted, audience.contacts) for audience in self._audiences),
            audiences=len(self._audiences),
            open_audiences=len(self._open),
        )

    @property
    def next_timer(self) -> float | None:
        """Latest time of the next call of `take`, because something that rests is due."""
        return self._timers.next

    def wind_down(self) -> None:
        """Send no more requests to Mailchimp. What has been read can still be delivered."""
        self._winding_down = True

    def emit_pending(self) -> None:
        """Emit the outcomes that wait for more of their snapshot: the sync ends here, finished or not."""
        for audience in self._open:
            audience.emit_pending()
            self._take_outcomes(audience)

    def stop_client(self, client: str, error: StopClient, now: float) -> None:
        """Stop reading a client in this sync."""
        for audience in self._clients[client]:
            audience.stop(error)
            self._settle(audience, now)

    def take(self, now: float) -> Fetch | Post | Probe | None:
        """Return the next request to carry out, or None while all wait for an answer or a timer."""
        self._keep_time(now)
        self._timers.run(now)
        request = self._posting.take(now) or self._take_fetch(now)
        if request is not None:
            self._in_flight[request.audience] += 1
        return request

    def connection_freed(self, request: Fetch | Post | Probe, now: float) -> None:
        """Free a request's connection, whatever came of it. Call this before reporting the result."""
        self._in_flight[request.audience] -= 1
        if isinstance(request, Fetch):
            self._fetching -= 1
            self._account(request.audience).service.release(now)
        else:
            self._posting.connection_freed(request, now)

    def posted(self, post: Post | Probe, receipt: Receipt, now: float) -> None:
        """Handle the target's answer: the number of records that it accepted."""
        self._note_activity(post.audience.plan.name.client, now)
        self._posting.posted(post, receipt, now)
        self._settle(post.audience, now)

    def post_failed(self, post: Post | Probe, error: ImporterError, now: float) -> None:
        """Handle an error of the target, or a missing answer."""
        if isinstance(error, TooManyRequests):
            self._note_activity(post.audience.plan.name.client, now)
        self._posting.failed(post, error, now)
        self._settle(post.audience, now)

    def fetched(self, fetch: Fetch, page: Page, now: float) -> None:
        """Handle a page from Mailchimp."""
        account, audience = self._account(fetch.audience), fetch.audience
        doubt = self._doubt(fetch, page, now)
        if page.server_time is None or doubt is not None:
            self.fetch_failed(fetch, doubt or BrokenAnswer("expected a Date header, found none that can be read"), now)
            return
        self._edge.answered()
        account.service.connections.answered()
        account.service.failures_in_a_row = 0
        account.clock_ahead_seconds = page.server_time - (now + self._epoch_offset_seconds)
        self._time.note_progress(audience, now)
        if not audience.is_current(fetch):
            pass
        elif audience.stopped is not None:
            audience.failed(fetch, audience.stopped)
        elif not audience.moment_is_right(fetch, page.server_time):
            pass
        elif audience.proves_absence(fetch, page) and not fetch.was_empty:
            fetch.was_empty = True
            audience.rest(fetch)
            self._requeue(fetch, now)
        else:
            self._accept(fetch, page, now)
        account.service.unpark(now)
        self._settle(audience, now)

    def _accept(self, fetch: Fetch, page: Page, now: float) -> None:
        """Accept a page that is believed."""
        audience = fetch.audience
        audience.arrived(fetch, page)
        if page.shape.is_short and not page.shape.length and audience.ends_before(fetch, page_too_short(fetch, page)):
            return  # The listing ends before it, whatever its total says.
        if fetch.reading.only_counts:
            audience.counted(fetch, page)
        else:
            self._posting.deliver(fetch, page, now)

    def fetch_failed(self, fetch: Fetch, error: ImporterError, now: float) -> None:
        """Handle an error of Mailchimp, or a missing answer."""
        audience = fetch.audience
        if not audience.is_current(fetch):
            pass
        elif audience.stopped is not None:
            audience.failed(fetch, audience.stopped)
        elif isinstance(error, TooManyRequests):
            self._wait_for_connection(fetch, error, now)
        elif isinstance(error, StopClient):
            audience.failed(fetch, error)
            self.stop_client(audience.plan.name.client, error, now)
        elif isinstance(error, StopAudience):
            self._edge.answered()
            self._account(audience).service.connections.answered()
            audience.failed(fetch, error)
            audience.stop(error)
        elif isinstance(error, TurnedAway):
            self._turn_away(fetch, error, now)
        elif isinstance(error, TooSlow):
            self._ask_for_less(fetch, error, now)
        elif isinstance(error, TryAgain):
            if isinstance(error, BrokenAnswer):
                self._account(audience).service.connections.answered()  # It had a connection, whatever came.
            self._try_again(fetch, error, now)
        else:
            audience.failed(fetch, error)
        self._account(audience).service.unpark(now)
        self._settle(audience, now)

    def _enter(self, audience: AudienceSync, book: LimiterRegistry) -> None:
        plan = audience.plan
        if plan.account not in self._accounts:
            connections = book.of(
                account_limiter(plan.account), plan.account_connections, patience=self._limits.patience
            )
            self._accounts[plan.account] = _Account(Service(connections, self._timers))
        self._accounts[plan.account].clients.add(plan.name.client)
        self._clients.setdefault(plan.name.client, []).append(audience)
        self._posting.enter(audience, book)
        self._offer(audience)

    def _account(self, audience: AudienceSync) -> _Account:
        return self._accounts[audience.plan.account]

    def _offer(self, audience: AudienceSync) -> None:
        if audience not in self._offered:
            self._offered.add(audience)
            self._round.append(audience)

    def _take_fetch(self, now: float) -> Fetch | None:
        """Return a page request of the next audience in the round that has one, a connection and room."""
        while self._round and self._fetching < self._limits.connections and not self._winding_down:
            if (opens_at := self._edge.opens_at(now, in_flight=self._fetching)) > now:
                if self._opens_at < opens_at:  # To be asked again then.
                    self._opens_at = opens_at
                    self._timers.at(opens_at, lambda _: None)
                return None
            audience = self._round.popleft()
            self._offered.discard(audience)
            account = self._account(audience)
            if not audience.has_ready:
                self._settle(audience, now)  # One that goes on may have nothing to ask for.
                continue
            if not self._posting.has_room(audience):
                self._note_activity(audience.plan.name.client, now)  # It waits its turn at a target that others share.
                self._posting.park(audience, now, lambda _, audience=audience: self._offer(audience))
            elif not account.service.acquire(now):
                account.service.park(now, lambda _, audience=audience: self._offer(audience))
            else:
                fetch = audience.next(now, now + self._epoch_offset_seconds + account.clock_ahead_seconds)
                self._offer(audience)
                if fetch is not None:
                    self._fetching += 1
                    self._edge.sent(now)
                    self._time.start(audience, now)
                    return fetch
                account.service.release(now)
        return None

    def _settle(self, audience: AudienceSync, now: float) -> None:
        """Take an audience up again after something came of one of its pages, or find it done.

        It is not as long as anything of it is in flight: whoever is told that it is done lets another sync have its account.
        """
        if audience in self._open and not self._in_flight[audience] and audience.done(now):
            del self._open[audience]
        elif audience.has_ready:
            self._offer(audience)
        self._take_outcomes(audience)

    def _take_outcomes(self, audience: AudienceSync) -> None:
        self.outcomes.extend(audience.outcomes)
        audience.outcomes.clear()

    def _doubt(self, fetch: Fetch, page: Page, now: float) -> BrokenAnswer | None:
        """Return what makes an answer hard to believe; None if nothing does, or if Mailchimp has repeated it."""
        our_time = now + self._epoch_offset_seconds
        doubt = doubt_clock(page, our_time=our_time, tolerance_seconds=self._limits.clock_tolerance_seconds)
        if doubt is not None or fetch.tries >= self._tries_again(fetch):
            return doubt
        return doubt_size(fetch, page)

    def _tries_again(self, fetch: Fetch) -> int:
        """Return the maximum number of retries of a request."""
        return self._limits.suspect_retries if fetch.is_suspect else self._limits.retries

    def _turn_away(self, fetch: Fetch, error: TurnedAway, now: float) -> None:
        """Handle a rejection by a proxy or firewall: its cause is the page, the account, or our address."""
        due = self._edge.turned_away(fetch.audience.plan.account, asked_at=fetch.asked_at, now=now)
        if due is None:
            self._try_again(fetch, error, now)
        elif self._edge.is_blocked:
            blocked = AddressBlocked(
                f"a proxy or firewall rejects this machine's requests for every account ({error.problem})",
                remedy="if it persists, ask Mailchimp support to unblock the address, and check proxies and firewalls",
            )
            fetch.audience.failed(fetch, blocked)
            for account in self._accounts.values():
                self._stop_account(account, blocked, now)
        else:
            fetch.audience.rest(fetch)
            self._timers.at(due, lambda later: self._requeue(fetch, later))

    def _note_activity(self, client: str, now: float) -> None:
        """Note that a target answers a client: none of its audiences stalls, whichever has its turn."""
        self._time.note_progress_of_started(self._clients[client], now)

    def _keep_time(self, now: float) -> None:
        """Leave audiences that stall, and all open ones once the run's time is used up."""
        for audience, error in self._time.overdue(self._open, now):
            audience.stop(error)
            self._posting.leave(audience, error, now)
            self._settle(audience, now)

    def _wait_for_connection(self, fetch: Fetch, error: TooManyRequests, now: float) -> None:
        """Requeue a request after a 429 without counting a retry, unless only 429s have come for minutes."""
        account, audience = self._account(fetch.audience), fetch.audience
        self._time.note_progress(audience, now)
        due = account.service.connections.refused(
            asked_at=fetch.asked_at, now=now, retry_after_seconds=error.retry_after_seconds
        )
        if account.service.connections.exhausted(now):
            minutes = round(self._limits.patience.give_up_seconds / 60)
            busy = AccountBusy(
                f"Mailchimp answered only 429 for {minutes} minutes: all ten connections of the account are in use",
                remedy="check which other tools use the account, or lower max_connections of this client",
            )
            audience.failed(fetch, busy)
            self._stop_account(account, busy, now)
        else:
            audience.rest(fetch)
            self._timers.at(due, lambda later: self._requeue(fetch, later))

    def _ask_for_less(self, fetch: Fetch, error: TooSlow, now: float) -> None:
        """Halve a page that the server does not manage. An account that does not even manage small ones hangs."""
        audience = fetch.audience
        if fetch.ask.count > self._small_page:
            if not audience.split(fetch, error):
                self._try_again(fetch, error, now)
            return
        self._count_failure(fetch, error, now)
        if audience.stopped is not None:
            audience.failed(fetch, audience.stopped)
        elif not (audience.read_before(fetch, error) or audience.split(fetch, error)):
            self._try_again(fetch, error, now)

    def _try_again(self, fetch: Fetch, error: TryAgain, now: float) -> None:
        audience = fetch.audience
        fetch.tries += 1
        if fetch.tries <= self._tries_again(fetch):
            audience.rest(fetch)
            pause = self._limits.pause_seconds(fetch.tries, self._rng)
            self._timers.at(now + pause, lambda later: self._requeue(fetch, later))
        else:
            self._give_up(fetch, error, now)

    def _give_up(self, fetch: Fetch, error: TryAgain, now: float) -> None:
        """Give up a page that failed repeatedly: blame the account, or read around the failure."""
        audience = fetch.audience
        if isinstance(error, ClockDoubtful):
            self._stop_account(self._account(audience), ClocksDisagree(error.problem, remedy=error.remedy), now)
        else:
            self._count_failure(fetch, error, now)
        if audience.stopped is not None:
            audience.failed(fetch, audience.stopped)
        elif isinstance(error, TooSlow) and audience.read_before(fetch, error):
            pass  # No size of the page has helped, so it is its offset.
        elif not audience.read_around(fetch, error):
            remedy = error.remedy or "run it again when Mailchimp is back"
            audience.failed(fetch, TriesUsedUp(f"{error.problem}, {fetch.tries} times", remedy=remedy))

    def _count_failure(self, fetch: Fetch, error: TryAgain, now: float) -> None:
        """Leave an account alone that gave no answer several times in a row, each after all tries or for a small page.

        It may be what the pages hold, so a page that can hold nobody is asked for first. What was asked for before the last
        failure came tells nothing new: ten requests that fail at one moment are one failure.
        """
        account, most = self._account(fetch.audience), self._limits.failures_in_a_row
        service = account.service
        if fetch.reading.is_probe:
            if service.failures_in_a_row >= most:
                down = AccountDown(
                    f"Mailchimp gave no answer {service.failures_in_a_row} times in a row ({error.problem})",
                    remedy=error.remedy or "run it again when Mailchimp is back",
                )
                self._stop_account(account, down, now)
        elif fetch.asked_at > account.failure_counted_at:
            account.failure_counted_at = now
            service.failures_in_a_row += 1
            if service.failures_in_a_row % most == 0:
                fetch.audience.probe(fetch)

    def _requeue(self, fetch: Fetch, now: float) -> None:
        if fetch.audience.requeue(fetch):
            self._settle(fetch.audience, now)

    def _stop_account(self, account: _Account, error: StopClient, now: float) -> None:
        for client in sorted(account.clients):
            self.stop_client(client, error, now)
