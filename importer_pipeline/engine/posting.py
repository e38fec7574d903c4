"""The target side of the engine: pages wait here, go out in batches, and are settled. Pure.

A target that can't keep up holds back the reading for its URL (`has_room`), one that is down or refuses the key ends its
clients' part, and a contact that it does not take costs its page a few posts more and nothing else. What waits for whom
stands in `lanes`.

Many answers may mean the contacts that were sent, the key, or the target: a firewall's 403, a server error, none at all. No
contact, key or target is blamed before it is clear which it is. If the target has taken something of the client that was
sent no earlier, it is the contacts, and they are told from the others by halves. If not, an empty post (`Probe`) asks.
"""

from collections import deque
from collections.abc import Callable, Hashable
from random import Random

from importer_pipeline.engine.audience_sync import AudienceSync, Fetch
from importer_pipeline.engine.concurrency import LimiterRegistry, target_limiters
from importer_pipeline.engine.delivery import Delivery
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
)
from importer_pipeline.records.receipt import Receipt


class Posting:
    """The posts of a sync.

    Args:
        limits: how much at once, and how long.
        page_size: contacts of a full page.
        timers: what rests until later.
        rng: for the jitter of pauses.
        stop_client: called with a client whose target is of no use, the reason, and the time.
        settled: called with an audience of which a page has been delivered or given up, and the time.
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
        self._most_undelivered = limits.undelivered_pages * page_size
        self._timers = timers
        self._rng = rng
        self._stop_client = stop_client
        self._settled = settled
        self._urls: dict[str, TargetUrl] = {}
        self._round: deque[TargetUrl] = deque()
        self._stopped: dict[str, StopClient] = {}
        self._left: dict[AudienceSync, StopAudience] = {}

    def enter(self, audience: AudienceSync, book: LimiterRegistry) -> None:
        """Add an audience whose contacts will have to be posted."""
        name, client = audience.plan.target, audience.plan.name.client

        of_url, of_client = target_limiters(name, client)

        def service(of: Hashable) -> Service:
            connections = book.of(of, self._limits.target_posts, patience=self._limits.patience)
            return Service(connections, self._timers)

        if name not in self._urls:
            self._urls[name] = TargetUrl(service(of_url))
        url = self._urls[name]
        if client not in url.lanes:
            url.lanes[client] = Lane(client, url, service(of_client), self._limits.post_records)

    def has_room(self, audience: AudienceSync) -> bool:
        """Return whether one more page for this audience's target may be read."""
        lane = self._lane(audience)
        return self._has_room(lane) and (lane.is_troubled or lane.url.undelivered < self._most_undelivered)

    def park(self, audience: AudienceSync, now: float, call: Callable[[float], None]) -> None:
        """Make `call` when there may be room again."""
        lane = self._lane(audience)
        service = lane.url.service if self._has_room(lane) else lane.service
        service.park(now, call)

    def deliver(self, fetch: Fetch, page: Page, now: float) -> None:
        """Queue a page for the target."""
        contacts = page.contacts
        unseen = fetch.audience.unseen(fetch, [contact.contact_id for contact in contacts])
        if unseen is not None:
            contacts = [contact for contact in contacts if contact.contact_id in unseen]
        delivery = Delivery(contacts, isolation_posts=self._limits.isolation_posts)
        undelivered = UndeliveredPage(fetch, page, delivery, None if unseen is None else frozenset(unseen))
        self._lane(fetch.audience).hold(page.shape.length)
        self._resume(undelivered, now)

    def leave(self, audience: AudienceSync, error: StopAudience, now: float) -> None:
        """Send nothing more of an audience: its time is used up."""
        self._left[audience] = error
        for parcel in self._lane(audience).clear(audience):
            self._give_up(parcel.page, error, now)

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
        """Handle the target's answer: the number of records that it accepted."""
        lane = self._lane(request.audience)
        self._answers(lane, request, now)
        if isinstance(request, Probe):
            return
        if len(request.parcels) > 1 and not receipt.complete:
            self._part(request, now)
            return
        for parcel in request.parcels:
            if parcel.page.is_open:
                parcel.page.delivery.answered(parcel.batch, receipt)
                self._resume(parcel.page, now)

    def failed(self, request: Post | Probe, error: ImporterError, now: float) -> None:
        """Handle an error of the target, or a missing answer."""
        lane = self._lane(request.audience)
        if isinstance(error, RecordRefused):
            self._answers(lane, request, now)
            if isinstance(request, Post):
                self._blame(request, error, now)
            return
        if isinstance(error, TryAgain):
            lane.fails()
        if isinstance(request, Probe):
            lane.probing = False
        elif (stopped := self._stopped.get(lane.client)) is not None:
            self._give_up_all(request, stopped, now)
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
            self._give_up_all(request, error, now)
        self._offer(lane)

    def _answers(self, lane: Lane, request: Post | Probe, now: float) -> None:
        """Note that the target is up and accepts the key. What failed and was sent no later failed because of what it holds."""
        if isinstance(request, Probe):
            lane.probing = False
        for service in (lane.service, lane.url.service):
            service.connections.answered()
        lane.url.answers(request.asked_at)
        for doubt in lane.answers(request.asked_at):
            self._blame(doubt.post, doubt.error, now)
        self._offer(lane)

    def _wait(self, lane: Lane, request: Post | Probe, error: TooManyRequests, now: float) -> None:
        """Requeue a throttled request without counting a retry, unless nothing else has come for minutes."""
        connections = lane.service.connections
        connections.refused(asked_at=request.asked_at, now=now, retry_after_seconds=error.retry_after_seconds)
        if connections.exhausted(now):
            busy = TargetBusy(
                f"the target throttled every request for minutes ({error.problem})",
                remedy="ask the target's operator for its rate limit, and lower max_posts of the resource target",
            )
            self._stop(lane.client, busy, now)
            if isinstance(request, Post):
                self._give_up_all(request, busy, now)
        elif isinstance(request, Post):
            lane.add_first(request)

    def _try_again(self, lane: Lane, post: Post, error: TryAgain, now: float) -> None:
        tries = 1 + max(parcel.tries for parcel in post.parcels)
        for parcel in post.parcels:
            parcel.tries = tries
        if tries > self._retries(post):
            self._doubt(lane, post, error, now)
            return
        pause = self._limits.pause_seconds(tries, self._rng)
        self._timers.at(now + pause, lambda later: self._queue_all(post, later))

    def _retries(self, post: Post) -> int:
        if not post.parcels[0].is_part:
            return self._limits.retries
        return min(self._limits.retries, self._limits.suspect_retries) if len(post.batch.contacts) == 1 else 0

    def _doubt(self, lane: Lane, post: Post, error: ImporterError, now: float) -> None:
        """Find out why a post failed for the last time."""
        if lane.alive_at >= post.asked_at:
            self._blame(post, error, now)
        else:
            lane.doubts.append(Doubt(post, error))

    def _probe_failed(self, lane: Lane, error: ImporterError, now: float) -> None:
        """Settle the doubts: what was sent is not the cause, the target accepts nothing of this client now."""
        if isinstance(error, StopClient):
            self._stop(lane.client, error, now)
        doubts, lane.doubts = lane.doubts, []
        for doubt in doubts:
            if isinstance(doubt.error, TryAgain):
                self._use_up(lane, doubt.post, doubt.error, now)
            elif isinstance(error, TryAgain):
                self._try_again(lane, doubt.post, error, now)
            else:
                self._give_up_all(doubt.post, error, now)

    def _use_up(self, lane: Lane, post: Post, error: TryAgain, now: float) -> None:
        for parcel in post.parcels:
            if parcel.page.is_open:
                remedy = error.remedy or "run it again when the target is back"
                used_up = TriesUsedUp(f"{error.problem}, {parcel.tries} times", remedy=remedy)
                self._count_failure(lane, post.asked_at, used_up, now)
                self._give_up(parcel.page, used_up, now)

    def _blame(self, post: Post, error: ImporterError, now: float) -> None:
        """Blame what the post holds: find the contact that the target did not accept."""
        if len(post.parcels) > 1:
            self._part(post, now)
            return
        for parcel in post.parcels:
            if parcel.page.is_open:
                parcel.page.delivery.rejected(parcel.batch, error)
                self._resume(parcel.page, now)

    def _part(self, post: Post, now: float) -> None:
        """Resend each batch of a shared post alone, because something in it was not accepted."""
        for parcel in post.parcels:
            parcel.is_part, parcel.tries = True, 0
            self._queue(parcel, now)

    def _resume(self, page: UndeliveredPage, now: float) -> None:
        """Post what can be posted of a page, and settle it when nothing is left."""
        delivery, audience = page.delivery, page.fetch.audience
        if delivery.given_up is not None:
            audience.given_up_in_a_row += 1
            if audience.given_up_in_a_row >= self._limits.failures_in_a_row:
                audience.stop(
                    RecordsMostlyRefused(
                        f"the target rejects most records of several consecutive windows ({delivery.given_up.problem})",
                        remedy="check the record mapping and target.url",
                    )
                )
            self._give_up(page, delivery.given_up, now)
            return
        while (batch := delivery.next()) is not None:
            self._queue(PendingBatch(page, batch, is_part=page.is_being_isolated), now)
        page.is_being_isolated = True
        if page.is_open and delivery.done:
            self._close(page)
            audience.delivered(
                page.fetch,
                page.page,
                accepted=delivery.accepted,
                refused=delivery.refused,
                sent=page.sent,
                now=now,
            )
            self._settle(audience, now)

    def _give_up_all(self, post: Post, error: ImporterError, now: float) -> None:
        for parcel in post.parcels:
            self._give_up(parcel.page, error, now)

    def _give_up(self, page: UndeliveredPage, error: ImporterError, now: float) -> None:
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
        for parcel in post.parcels:
            self._queue(parcel, now)

    def _queue(self, parcel: PendingBatch, now: float) -> None:
        lane = self._lane(parcel.page.fetch.audience)
        audience = parcel.page.fetch.audience
        if (stopped := self._stopped.get(lane.client) or self._left.get(audience)) is not None:
            self._give_up(parcel.page, stopped, now)
        else:
            lane.add(parcel)
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
        """Return whether a client may read on: of a shared URL, none may use more than half of the room."""
        most = self._most_undelivered if len(lane.url.lanes) == 1 else self._most_undelivered // 2
        return lane.undelivered < max(1, most)

    def _count_failure(self, lane: Lane, asked_at: float, error: TriesUsedUp, now: float) -> None:
        """Stop posting to a target that accepts no window of several in a row: for this client, or for all that send there.

        Where one client alone has no success, its account at the target may be the reason; others are not stopped for it.
        """
        most, url = self._limits.failures_in_a_row, lane.url
        lane.failures_in_a_row += 1
        if url.alive_at < asked_at:
            url.failures_in_a_row += 1
            url.failed_clients.add(lane.client)
        down = TargetDown(
            f"the target did not accept {most} consecutive windows ({error.problem})",
            remedy=error.remedy or "run it again when the target is back",
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
            for parcel in url.lanes[client].clear() if client in url.lanes else ():
                self._give_up(parcel.page, error, now)
