"""The target side of the engine: pages are queued, sent in batches, and settled. Pure.

A target that can't keep up holds back the reading for its URL (`has_room`), one that is down or refuses the key stops
its clients, and a contact that it refuses costs its page only a few more posts. The queues are in `lanes.py`.

The cause of a failure may be the contacts that were sent, the key, or the target: a firewall's 403, a server error, no
answer at all. None of them is blamed before the cause is clear. If the target has accepted something of the client that
was sent no earlier, the contacts are the cause, and the bad ones are found by halving. If not, an empty post (`Probe`)
decides.
"""

from collections import deque
from collections.abc import Callable
from random import Random

from importer_pipeline.engine.audience_sync import AudienceSync, Fetch
from importer_pipeline.engine.concurrency import LimiterRegistry
from importer_pipeline.engine.delivery import Batch, Delivery
from importer_pipeline.engine.lanes import Doubt, Lane, TargetUrl
from importer_pipeline.engine.pages import Page
from importer_pipeline.engine.posts import PendingBatch, Post, Probe, UndeliveredPage
from importer_pipeline.engine.services import Service, SyncLimits, Timers
from importer_pipeline.errors import (
    ImporterError,
    RecordRefused,
    RecordsMostlyRefused,
    StopAudience,
    StopClient,
    TargetBusy,
    TargetDown,
    TargetKeyRefused,
    TargetMisplaced,
    TooManyRequests,
    TriesUsedUp,
    TryAgain,
    Unavailable,
)
from importer_pipeline.records.receipt import Receipt
from importer_pipeline.redaction import shown

_MAX_URL = 200


class Posting:
    """The posts of a sync.

    Args:
        limits: how much at once, and how long.
        page_size: contacts of a full page.
        timers: calls that are due later.
        rng: for the jitter of pauses.
        stop_client: called with a client whose target does not work, the reason, and the time.
        settled: called with an audience of which a page has been delivered or abandoned, and the time.
    """

    def __init__(
        self,
        *,
        limits: SyncLimits,
        page_size: int,
        timers: Timers,
        rng: Random,
        stop_client: Callable[[str, StopClient, float], None],
        settled: Callable[[AudienceSync, float], None],
    ) -> None:
        self._limits = limits
        self._max_undelivered = limits.undelivered_pages * page_size
        self._timers = timers
        self._rng = rng
        self._stop_client = stop_client
        self._settled = settled
        self._urls: dict[str, TargetUrl] = {}
        self._round: deque[TargetUrl] = deque()
        self._stopped: dict[str, StopClient] = {}
        self._abandoned: dict[AudienceSync, StopAudience] = {}

    def enter(self, audience: AudienceSync, limiters: LimiterRegistry) -> None:
        """Add an audience whose contacts will have to be posted."""
        name, client, rules = audience.plan.target, audience.plan.name.client, audience.plan.target_rules
        of_url, of_account = limiters.of_target(
            name, client, rules, max_posts=self._limits.target_posts, throttling=self._limits.throttling
        )
        if name not in self._urls:
            self._urls[name] = TargetUrl(Service(of_url, self._timers))
        url = self._urls[name]
        if client not in url.lanes:
            together = min(self._limits.post_records, rules.batch_records or self._limits.post_records)
            url.lanes[client] = Lane(client, url, Service(of_account, self._timers), together)

    def is_full(self, url: str) -> bool:
        """Return whether no more page for any client of a target URL may be read."""
        target = self._urls[url]
        return target.undelivered >= self._max_undelivered and not target.failing_lanes

    def park_all(self, url: str, now: float, call: Callable[[float], None]) -> None:
        """Make `call` when a full target URL may have room again."""
        self._urls[url].service.park(now, call)

    def has_room(self, audience: AudienceSync) -> bool:
        """Return whether one more page for this audience's target may be read."""
        lane = self._lane(audience)
        return self._has_room(lane) and (lane.is_failing or lane.url.undelivered < self._max_undelivered)

    def park(self, audience: AudienceSync, now: float, call: Callable[[float], None]) -> None:
        """Make `call` when there may be room again."""
        lane = self._lane(audience)
        service = lane.url.service if self._has_room(lane) else lane.service
        service.park(now, call)

    def deliver(self, fetch: Fetch, page: Page, now: float) -> None:
        """Queue a page for the target."""
        contacts = page.contacts
        unseen = fetch.audience.unseen(fetch, (contact.contact_id for contact in page.contacts))
        if unseen is not None:
            contacts = [contact for contact in contacts if contact.contact_id in unseen]
        delivery = Delivery(
            contacts,
            isolation_posts=self._limits.isolation_posts,
            batch_records=fetch.audience.plan.target_rules.batch_records,
        )
        undelivered = UndeliveredPage(fetch, page, delivery, None if unseen is None else frozenset(unseen))
        self._lane(fetch.audience).hold(page.shape.length)
        self._resume(undelivered, now)

    def leave(self, audience: AudienceSync, error: StopAudience, now: float) -> None:
        """Send nothing more of an audience: its time is used up."""
        self._abandoned[audience] = error
        for pending in self._lane(audience).clear(audience):
            self._abandon(pending.page, error, now)

    def take(self, now: float) -> Post | Probe | None:
        """Return the next request to a target, or None."""
        while self._round:
            url = self._round[0]
            if (request := url.take(now, self._offer)) is not None:
                self._round.rotate(-1)
                return request
            self._round.popleft()
            url.offered = False
            if url.has_work:
                url.service.park(now, lambda _, url=url: self._offer_url(url))
        return None

    def connection_freed(self, request: Post | Probe, now: float) -> None:
        """Free the request's connection, whatever came of it."""
        lane = self._lane(request.audience)
        lane.service.release(now)
        lane.url.service.release(now)

    def posted(self, request: Post | Probe, receipt: Receipt, now: float) -> None:
        """Handle the target's answer: the records that it accepted."""
        lane = self._lane(request.audience)
        if receipt.pause_seconds:
            lane.service.limiter.pause(receipt.pause_seconds, now=now)
        self._note_answer(lane, request, now)
        if isinstance(request, Probe):
            return
        if len(request.batches) > 1 and not receipt.complete and not receipt.names_the_others:
            self._send_separately(request, now)
            return
        for pending in request.batches:
            if pending.page.is_open:
                rest = pending.page.delivery.answered(pending.batch, receipt)
                if rest is not None:
                    self._send_rest(pending, rest, receipt, request, now)
                self._resume(pending.page, now)

    def failed(self, request: Post | Probe, error: ImporterError, now: float) -> None:
        """Handle an error of the target, or a missing answer."""
        lane = self._lane(request.audience)
        if isinstance(error, RecordRefused):
            self._note_answer(lane, request, now)
            if isinstance(request, Post):
                self._blame(request, error, now)
            return
        if isinstance(error, TryAgain):
            lane.note_failure()
        if isinstance(request, Probe):
            lane.probing = False
        elif (stopped := self._stopped.get(lane.client)) is not None:
            self._abandon_all(request, stopped, now)
            return
        if isinstance(error, TooManyRequests):
            self._wait(lane, request, error, now)
        elif isinstance(request, Probe):
            self._probe_failed(lane, error, now)
        elif isinstance(error, TryAgain):
            self._try_again(lane, request, error, now)
        elif isinstance(error, TargetKeyRefused | TargetMisplaced):
            self._doubt(lane, request, error, now)
        else:
            if isinstance(error, StopClient):
                self._stop(lane.client, error, now)
            self._abandon_all(request, error, now)
        self._offer(lane)

    def _note_answer(self, lane: Lane, request: Post | Probe, now: float) -> None:
        """Note that the target is up and accepts the key: what failed earlier failed because of its contacts."""
        if isinstance(request, Probe):
            lane.probing = False
        for service in (lane.service, lane.url.service):
            service.limiter.answered()
        lane.url.note_answer(request.requested_at)
        for doubt in lane.note_answer(request.requested_at):
            self._blame(doubt.post, doubt.error, now)
        self._offer(lane)

    def _wait(self, lane: Lane, request: Post | Probe, error: TooManyRequests, now: float) -> None:
        """Requeue a throttled request without counting a retry, unless only 429s have come for minutes."""
        limiter = lane.service.limiter
        limiter.refused(requested_at=request.requested_at, now=now, retry_after_seconds=error.retry_after_seconds)
        if limiter.exhausted(now):
            busy = TargetBusy(
                f"the target throttled every request for minutes ({error.problem})",
                remedy="ask the target's operator for its rate limit, and lower max_posts of the resource target",
            )
            self._stop(lane.client, busy, now)
            if isinstance(request, Post):
                self._abandon_all(request, busy, now)
        elif isinstance(request, Post):
            lane.add_first(request)

    def _try_again(self, lane: Lane, post: Post, error: TryAgain, now: float) -> None:
        tries = 1 + max(pending.tries for pending in post.batches)
        for pending in post.batches:
            pending.tries = tries
        if tries > self._retries(post):
            self._doubt(lane, post, error, now)
            return
        pause = self._limits.pause_seconds(tries, self._rng)
        self._timers.at(now + pause, lambda later: self._queue_all(post, later))

    def _retries(self, post: Post) -> int:
        if not post.batches[0].goes_alone:
            return self._limits.retries
        return min(self._limits.retries, self._limits.suspect_retries) if len(post.batch.contacts) == 1 else 0

    def _doubt(self, lane: Lane, post: Post, error: ImporterError, now: float) -> None:
        """Find out why a post failed for the last time."""
        if lane.alive_at >= post.requested_at:
            self._blame(post, error, now)
        else:
            lane.doubts.append(Doubt(post, error))

    def _probe_failed(self, lane: Lane, error: ImporterError, now: float) -> None:
        """Settle the doubts: the contacts are not the cause, because the target accepts nothing of this client now."""
        if isinstance(error, StopClient):
            self._stop(lane.client, error, now)
        doubts, lane.doubts = lane.doubts, []
        for doubt in doubts:
            if isinstance(doubt.error, TryAgain):
                self._use_up(lane, doubt.post, doubt.error, now)
            elif isinstance(error, TryAgain):
                self._try_again(lane, doubt.post, error, now)
            else:
                self._abandon_all(doubt.post, error, now)

    def _use_up(self, lane: Lane, post: Post, error: TryAgain, now: float) -> None:
        for pending in post.batches:
            if pending.page.is_open:
                url = shown(pending.page.fetch.audience.plan.target, max_characters=_MAX_URL)
                remedy = f"{error.remedy or 'run it again when the target is back'} ({url})"
                used_up = TriesUsedUp(f"{error.problem}, {pending.tries} times", remedy=remedy)
                self._count_failure(lane, post.requested_at, used_up, now)
                self._abandon(pending.page, used_up, now)

    def _blame(self, post: Post, error: ImporterError, now: float) -> None:
        """Blame the contacts of a post: find the one that the target did not accept."""
        if len(post.batches) > 1:
            self._send_separately(post, now)
            return
        for pending in post.batches:
            if pending.page.is_open:
                pending.page.delivery.rejected(pending.batch, error)
                self._resume(pending.page, now)

    def _send_separately(self, post: Post, now: float) -> None:
        """Resend each batch of a shared post separately, because a contact in it was not accepted."""
        for pending in post.batches:
            pending.goes_alone, pending.tries = True, 0
            self._queue(pending, now)

    def _send_rest(self, pending: PendingBatch, rest: Batch, receipt: Receipt, post: Post, now: float) -> None:
        """Send again what the target neither accepted nor refused."""
        has_progress = bool(receipt.accepted or receipt.refused)
        again = PendingBatch(pending.page, rest, pending.goes_alone, 0 if has_progress else pending.tries)
        if receipt.refused and not receipt.accepted:
            # Nothing was stored because of the refused ones: without them the others may be, and at once.
            self._queue(again, now)
            return
        error = Unavailable("the target asks to send these records again")
        self._try_again(self._lane(post.audience), Post((again,), post.requested_at), error, now)

    def _resume(self, page: UndeliveredPage, now: float) -> None:
        """Post what can be posted of a page, and settle it when nothing is left."""
        delivery, audience = page.delivery, page.fetch.audience
        if delivery.given_up is not None:
            audience.abandoned_in_a_row += 1
            if audience.abandoned_in_a_row >= self._limits.failures_in_a_row:
                audience.stop(
                    RecordsMostlyRefused(
                        f"the target rejects most records of several consecutive windows ({delivery.given_up.problem})",
                        remedy="check the record mapping and target.url",
                    )
                )
            self._abandon(page, delivery.given_up, now)
            return
        while (batch := delivery.next()) is not None:
            self._queue(PendingBatch(page, batch, goes_alone=page.is_being_isolated), now)
        page.is_being_isolated = True
        if page.is_open and delivery.done:
            self._close(page)
            audience.delivered(
                page.fetch,
                page.page,
                accepted=delivery.accepted,
                refused=delivery.refused,
                sent_ids=page.sent_ids,
                now=now,
            )
            self._settle(audience, now)

    def _abandon_all(self, post: Post, error: ImporterError, now: float) -> None:
        for pending in post.batches:
            self._abandon(pending.page, error, now)

    def _abandon(self, page: UndeliveredPage, error: ImporterError, now: float) -> None:
        if page.is_open:
            self._close(page)
            page.fetch.audience.failed(page.fetch, error)
            self._settle(page.fetch.audience, now)

    def _close(self, page: UndeliveredPage) -> None:
        page.is_open = False
        self._lane(page.fetch.audience).hold(-page.page.shape.length)

    def _settle(self, audience: AudienceSync, now: float) -> None:
        lane = self._lane(audience)
        lane.service.unpark(now)
        lane.url.service.unpark(now)
        self._settled(audience, now)

    def _queue_all(self, post: Post, now: float) -> None:
        for pending in post.batches:
            self._queue(pending, now)

    def _queue(self, pending: PendingBatch, now: float) -> None:
        lane = self._lane(pending.page.fetch.audience)
        audience = pending.page.fetch.audience
        if (stopped := self._stopped.get(lane.client) or self._abandoned.get(audience)) is not None:
            self._abandon(pending.page, stopped, now)
        else:
            lane.add(pending)
            self._offer(lane)

    def _offer(self, lane: Lane) -> None:
        lane.url.offer(lane)
        self._offer_url(lane.url)

    def _offer_url(self, url: TargetUrl) -> None:
        if not url.offered:
            url.offered = True
            self._round.append(url)

    def _lane(self, audience: AudienceSync) -> Lane:
        return self._urls[audience.plan.target].lanes[audience.plan.name.client]

    def _has_room(self, lane: Lane) -> bool:
        """Return whether a client may read on: no client may use more than half of the room of a shared URL."""
        most = self._max_undelivered if len(lane.url.lanes) == 1 else self._max_undelivered // 2
        return lane.undelivered < max(1, most)

    def _count_failure(self, lane: Lane, requested_at: float, error: TriesUsedUp, now: float) -> None:
        """Stop posting after several consecutive failed windows: for this client, or for all clients of the URL.

        If only one client fails, its account at the target may be the cause; the others are not stopped.
        """
        most, url = self._limits.failures_in_a_row, lane.url
        lane.failures_in_a_row += 1
        if url.alive_at < requested_at:
            url.failures_in_a_row += 1
            url.failed_clients.add(lane.client)
        down = TargetDown(
            f"the target did not accept {most} consecutive windows ({error.problem})",
            remedy=error.remedy,
        )
        if url.failures_in_a_row >= most and len(url.failed_clients) > 1:
            for client in sorted(url.lanes):
                self._stop(client, down, now)
        elif lane.failures_in_a_row >= most:
            self._stop(lane.client, down, now)

    def _stop(self, client: str, error: StopClient, now: float) -> None:
        if client in self._stopped:
            return
        self._stopped[client] = error
        self._stop_client(client, error, now)
        for url in self._urls.values():
            for pending in url.lanes[client].clear() if client in url.lanes else ():
                self._abandon(pending.page, error, now)
