"""Decides what an answer of Mailchimp means: the page is accepted, requested again or in parts, or abandoned. Pure.

Failures stay small: a page is retried, then the engine reads around the part that fails. A useless account or key stops
its clients; the others never wait for it, because a request that waits for its retry holds no connection. An answer's
claims are doubted before they are believed: its clock, its number of contacts, and that there are none.
"""

from collections.abc import Callable
from random import Random

from importer_pipeline.engine.answer_doubts import doubt_clock, doubt_size, page_too_short
from importer_pipeline.engine.audience_sync import Fetch
from importer_pipeline.engine.fetch_queue import Account, FetchQueue
from importer_pipeline.engine.pages import Page
from importer_pipeline.engine.posting import Posting
from importer_pipeline.engine.services import SyncLimits, Timers
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
from importer_pipeline.listing.coverage import PageRequest


class Fetching:
    """Takes the answers to the page requests of a sync.

    Args:
        limits: how often and how long a request is retried.
        page_size: contacts of a full page.
        timers: calls that are due later.
        rng: for the jitter of pauses.
        epoch_offset_seconds: seconds to add to the engine's clock to get epoch seconds.
        queue: the audiences, and the accounts that answer.
        posting: delivers the pages.
        time: notes which audiences make progress.
        stop_client: called with a client whose account or key does not work, the reason, and the time.
    """

    def __init__(
        self,
        *,
        limits: SyncLimits,
        page_size: int,
        timers: Timers,
        rng: Random,
        epoch_offset_seconds: float,
        queue: FetchQueue,
        posting: Posting,
        time: TimeBudget,
        stop_client: Callable[[str, StopClient, float], None],
    ) -> None:
        self._limits = limits
        self._small_page = page_size // 5
        self._timers = timers
        self._rng = rng
        self._epoch_offset_seconds = epoch_offset_seconds
        self._queue = queue
        self._posting = posting
        self._time = time
        self._stop_client = stop_client

    def fetched(self, fetch: Fetch, page: Page, now: float) -> None:
        """Handle a page from Mailchimp."""
        account, audience = self._queue.account_of(fetch.audience), fetch.audience
        doubt = self._doubt(fetch, page, now)
        if page.server_time is None or doubt is not None:
            self.failed(fetch, doubt or BrokenAnswer("expected a Date header, found none that can be read"), now)
            return
        self._queue.edge.answered()
        account.service.limiter.answered()
        account.service.failures_in_a_row = 0
        self._queue.note_clock(account, page.server_time - (now + self._epoch_offset_seconds))
        self._time.note_progress(audience, now)
        if not audience.is_current(fetch):
            pass
        elif audience.stopped is not None:
            audience.failed(fetch, audience.stopped)
        elif not audience.has_right_upper_bound(fetch, page.server_time):
            pass
        elif audience.proves_absence(fetch, page) and not fetch.was_empty:
            fetch.was_empty = True
            audience.await_retry(fetch)
            self._requeue(fetch, now)
        else:
            self._accept(fetch, page, now)
        account.service.unpark(now)

    def failed(self, fetch: Fetch, error: ImporterError, now: float) -> None:
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
            self._stop_client(audience.plan.name.client, error, now)
        elif isinstance(error, StopAudience):
            self._queue.edge.answered()
            self._queue.account_of(audience).service.limiter.answered()
            audience.failed(fetch, error)
            audience.stop(error)
        elif isinstance(error, TurnedAway):
            self._turn_away(fetch, error, now)
        elif isinstance(error, TooSlow):
            self._request_less(fetch, error, now)
        elif isinstance(error, TryAgain):
            if isinstance(error, BrokenAnswer):
                self._queue.account_of(audience).service.limiter.answered()  # It had a connection.
            self._try_again(fetch, error, now)
        else:
            audience.failed(fetch, error)
        self._queue.account_of(audience).service.unpark(now)

    def _accept(self, fetch: Fetch, page: Page, now: float) -> None:
        """Accept a page that is believed."""
        audience = fetch.audience
        audience.arrived(fetch, page)
        if self._ends_before(fetch, page):
            return
        if fetch.reading.only_counts:
            audience.counted(fetch, page)
        else:
            self._posting.deliver(fetch, page, now)

    def _ends_before(self, fetch: Fetch, page: Page) -> bool:
        """Return whether the listing ends before an empty page, whatever its total says."""
        request, shape = fetch.request, page.shape
        if not isinstance(request, PageRequest) or not shape.is_short or shape.length:
            return False
        return fetch.audience.ends_before(fetch, page_too_short(request, shape))

    def _doubt(self, fetch: Fetch, page: Page, now: float) -> BrokenAnswer | None:
        """Return what makes an answer hard to believe; None if nothing does, or if Mailchimp has repeated it."""
        our_time = now + self._epoch_offset_seconds
        doubt = doubt_clock(page, our_time=our_time, tolerance_seconds=self._limits.clock_tolerance_seconds)
        if doubt is not None or fetch.tries >= self._max_retries(fetch):
            return doubt
        return doubt_size(fetch, page)

    def _max_retries(self, fetch: Fetch) -> int:
        """Return the maximum number of retries of a request."""
        return self._limits.suspect_retries if fetch.is_suspect else self._limits.retries

    def _turn_away(self, fetch: Fetch, error: TurnedAway, now: float) -> None:
        """Handle a rejection by a proxy or firewall: its cause is the page, the account, or our address."""
        due = self._queue.edge.turned_away(fetch.audience.plan.account, requested_at=fetch.requested_at, now=now)
        if due is None:
            self._try_again(fetch, error, now)
        elif self._queue.edge.is_blocked:
            blocked = AddressBlocked(
                f"a proxy or firewall rejects this machine's requests for every account ({error.problem})",
                remedy="if it persists, ask Mailchimp support to unblock the address, and check proxies and firewalls",
            )
            fetch.audience.failed(fetch, blocked)
            for account in self._queue.accounts.values():
                self._stop_account(account, blocked, now)
        else:
            fetch.audience.await_retry(fetch)
            self._timers.at(due, lambda later: self._requeue(fetch, later))

    def _wait_for_connection(self, fetch: Fetch, error: TooManyRequests, now: float) -> None:
        """Requeue a request after a 429 without counting a retry, unless only 429s have come for minutes."""
        account, audience = self._queue.account_of(fetch.audience), fetch.audience
        self._time.note_progress(audience, now)
        audience.rate_limited += 1
        due = account.service.limiter.refused(
            requested_at=fetch.requested_at, now=now, retry_after_seconds=error.retry_after_seconds
        )
        if account.service.limiter.exhausted(now):
            minutes = round(self._limits.throttling.give_up_seconds / 60)
            busy = AccountBusy(
                f"Mailchimp answered only 429 for {minutes} minutes: all ten connections of the account are in use",
                remedy="check which other tools use the account, or lower max_connections of this client",
            )
            audience.failed(fetch, busy)
            self._stop_account(account, busy, now)
        else:
            audience.await_retry(fetch)
            self._timers.at(due, lambda later: self._requeue(fetch, later))

    def _request_less(self, fetch: Fetch, error: TooSlow, now: float) -> None:
        """Halve a page that is too large for the server. An account that fails for small pages as well hangs."""
        audience = fetch.audience
        if isinstance(fetch.request, PageRequest) and fetch.request.count > self._small_page:
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
        if fetch.tries <= self._max_retries(fetch):
            audience.await_retry(fetch)
            pause = self._limits.pause_seconds(fetch.tries, self._rng)
            self._timers.at(now + pause, lambda later: self._requeue(fetch, later))
        else:
            self._abandon(fetch, error, now)

    def _abandon(self, fetch: Fetch, error: TryAgain, now: float) -> None:
        """Abandon a page that failed repeatedly: the account is the cause, or the page is read around."""
        audience = fetch.audience
        if isinstance(error, ClockDoubtful):
            self._stop_account(
                self._queue.account_of(audience), ClocksDisagree(error.problem, remedy=error.remedy), now
            )
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
        """Abandon an account that gave no answer several times in a row, each after all retries or for a small page.

        The contents of the pages may be the cause, so an empty page is requested first, as a probe. Requests sent
        before the last failure are not counted: ten requests that fail at one moment are one failure.
        """
        account, most = self._queue.account_of(fetch.audience), self._limits.failures_in_a_row
        service = account.service
        if fetch.reading.is_probe:
            if service.failures_in_a_row >= most:
                down = AccountDown(
                    f"Mailchimp gave no answer {service.failures_in_a_row} times in a row ({error.problem})",
                    remedy=error.remedy or "run it again when Mailchimp is back",
                )
                self._stop_account(account, down, now)
        elif fetch.requested_at > account.failure_counted_at:
            account.failure_counted_at = now
            service.failures_in_a_row += 1
            if service.failures_in_a_row % most == 0:
                fetch.audience.probe(fetch)

    def _requeue(self, fetch: Fetch, now: float) -> None:
        if fetch.audience.requeue(fetch):
            self._queue.offer(fetch.audience)

    def _stop_account(self, account: Account, error: StopClient, now: float) -> None:
        for client in sorted(account.clients):
            self._stop_client(client, error, now)
