"""The target side of the engine: pages wait here, go out in batches, and are settled. Pure.

A target that can't keep up holds back the reading for its URL (`has_room`), a target that is down or refuses the key ends
its clients' part, and a refused record costs its page a few posts more and nothing else.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

from importer_pipeline.audience_sync import AudienceSync, Fetch
from importer_pipeline.connections import ConnectionBook
from importer_pipeline.delivery import Batch, Delivery
from importer_pipeline.errors import (
    ImporterError,
    RecordRefused,
    RecordsMostlyRefused,
    StopClient,
    TargetDown,
    TriesUsedUp,
    TryAgain,
)
from importer_pipeline.pages import Page
from importer_pipeline.services import Service, SyncLimits, Timers
from importer_pipeline.target import Receipt


@dataclass(eq=False, slots=True)
class UndeliveredPage:
    """A page that is on its way to the target."""

    fetch: Fetch
    page: Page
    delivery: Delivery
    sent: frozenset[str] | None
    """Ids of its contacts that are sent; None for all. The others were sent with another page of their crowded second."""
    is_open: bool = True
    """Whether it is neither delivered nor given up."""
    is_being_isolated: bool = False
    """Whether a refused contact in it is being told from the others."""


@dataclass(eq=False, slots=True)
class Parcel:
    """A batch of one page, on its way."""

    page: UndeliveredPage
    batch: Batch
    tries: int = 0
    """How often posting it has failed in a way that could have passed."""
    goes_alone: bool = False
    """Whether it is to share no post, because one that it shared was not taken whole."""


@dataclass(frozen=True, eq=False, slots=True)
class Post:
    """One request to a target: a batch of a page, or whole small pages of one audience together."""

    parcels: tuple[Parcel, ...]

    @property
    def audience(self) -> AudienceSync:
        """Whose contacts they are."""
        return self.parcels[0].page.fetch.audience

    @property
    def batch(self) -> Batch:
        """All contacts that are sent."""
        if len(self.parcels) == 1:
            return self.parcels[0].batch
        return Batch(tuple(contact for parcel in self.parcels for contact in parcel.batch.contacts))


@dataclass(eq=False, slots=True)
class _Target:
    """A target URL."""

    service: Service
    queue: deque[Parcel] = field(default_factory=deque[Parcel])
    """What can go out now."""
    queued: Counter[AudienceSync] = field(default_factory=Counter[AudienceSync])
    """How much of it is each audience's."""
    offered: bool = False
    """Whether it stands in the round of targets that may have something to post."""
    undelivered: int = 0
    """Contacts in pages that are neither delivered nor given up."""
    clients: set[str] = field(default_factory=set[str])
    """Who sends to it."""


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
        self._targets: dict[str, _Target] = {}
        self._round: deque[_Target] = deque()
        self._stopped: dict[str, StopClient] = {}
        self._client_failures: dict[str, int] = {}

    def enter(self, audience: AudienceSync, book: ConnectionBook) -> None:
        """An audience whose contacts will have to be posted."""
        url, limits = audience.plan.target, self._limits
        if url not in self._targets:
            connections = book.of(("target", url), limits.target_posts, patience=limits.patience)
            self._targets[url] = _Target(Service(connections, self._timers))
        self._targets[url].clients.add(audience.plan.name.client)

    def has_room(self, audience: AudienceSync) -> bool:
        """Whether one more page for this audience's target may be read."""
        return self._target(audience).undelivered < self._most_undelivered

    def park(self, audience: AudienceSync, now: float, call: Callable[[float], None]) -> None:
        """Make `call` when there may be room again."""
        self._target(audience).service.park(now, call)

    def deliver(self, fetch: Fetch, page: Page, now: float) -> None:
        """Bring a page to the target."""
        contacts = page.contacts
        unseen = fetch.audience.unseen(fetch, [contact.contact_id for contact in contacts])
        if unseen is not None:
            contacts = [contact for contact in contacts if contact.contact_id in unseen]
        delivery = Delivery(contacts, isolation_posts=self._limits.isolation_posts)
        undelivered = UndeliveredPage(fetch, page, delivery, None if unseen is None else frozenset(unseen))
        self._target(fetch.audience).undelivered += page.shape.length
        self._go_on(undelivered, now)

    def take(self, now: float) -> Post | None:
        """The next batch to post, or None."""
        while self._round:
            target = self._round[0]
            self._drop_closed(target, now)
            if target.queue and target.service.acquire(now):
                self._round.rotate(-1)
                return Post(tuple(self._parcels(target)))
            self._round.popleft()
            target.offered = False
            if target.queue:
                target.service.park(now, lambda _, target=target: self._offer(target))
        return None

    def off_the_wire(self, post: Post, now: float) -> None:
        """The post's connection is free again, whatever came of it."""
        self._target(post.audience).service.release(now)

    def posted(self, post: Post, receipt: Receipt, now: float) -> None:
        """The target has answered with the number of records that it took."""
        service = self._target(post.audience).service
        service.connections.answered()
        service.failures_in_a_row = 0
        self._client_failures[post.audience.plan.name.client] = 0
        if len(post.parcels) > 1 and not receipt.complete:
            self._part(post)
            return
        for parcel in post.parcels:
            if parcel.page.is_open:
                parcel.page.delivery.answered(parcel.batch, receipt)
                self._go_on(parcel.page, now)

    def failed(self, post: Post, error: ImporterError, now: float) -> None:
        """The target's answer is an error, or none came."""
        if isinstance(error, RecordRefused):
            self._target(post.audience).service.connections.answered()
            if len(post.parcels) > 1:
                self._part(post)
                return
        if isinstance(error, StopClient):
            self._stop(post.audience.plan.name.client, error, now)
        for parcel in post.parcels:
            if parcel.page.is_open:
                self._failed(parcel, error, now)

    def _failed(self, parcel: Parcel, error: ImporterError, now: float) -> None:
        audience = parcel.page.fetch.audience
        if isinstance(error, RecordRefused):
            parcel.page.delivery.rejected(parcel.batch, error)
            self._go_on(parcel.page, now)
        elif isinstance(error, TryAgain):
            parcel.tries += 1
            if parcel.tries <= self._limits.retries and audience.plan.name.client not in self._stopped:
                pause = self._limits.pause_seconds(parcel.tries, self._rng)
                self._timers.at(now + pause, lambda _: self._queue(parcel))
            else:
                used_up = TriesUsedUp(f"{error.problem}, {parcel.tries} times", remedy=error.remedy)
                self._count_failure(audience, used_up, now)
                self._give_up(parcel.page, used_up, now)
        else:
            self._give_up(parcel.page, error, now)

    def _part(self, post: Post) -> None:
        """Something in a shared post was refused: each of its parcels goes again, alone."""
        for parcel in post.parcels:
            parcel.goes_alone = True
            self._queue(parcel)

    def _parcels(self, target: _Target) -> Iterator[Parcel]:
        """What goes out next: the first in the queue, and with a small page those of its audience that are small, too."""
        first = self._taken(target, 0)
        audience, size = first.page.fetch.audience, len(first.batch.contacts)
        yield first
        index = 0
        while not first.goes_alone and target.queued[audience] and index < len(target.queue):
            parcel = target.queue[index]
            more = len(parcel.batch.contacts)
            if (
                parcel.page.fetch.audience is audience
                and parcel.page.is_open
                and not parcel.goes_alone
                and size + more <= self._limits.post_records
            ):
                size += more
                yield self._taken(target, index)
            else:
                index += 1

    def _taken(self, target: _Target, index: int) -> Parcel:
        parcel = target.queue[index]
        del target.queue[index]
        target.queued[parcel.page.fetch.audience] -= 1
        return parcel

    def _target(self, audience: AudienceSync) -> _Target:
        return self._targets[audience.plan.target]

    def _go_on(self, page: UndeliveredPage, now: float) -> None:
        """Post what can be posted of a page, and settle it when nothing is left."""
        delivery, audience = page.delivery, page.fetch.audience
        if delivery.given_up is not None:
            audience.given_up_in_a_row += 1
            if audience.given_up_in_a_row >= self._limits.failures_in_a_row:
                audience.stop(
                    RecordsMostlyRefused(
                        f"the target refuses most records of window after window ({delivery.given_up.problem})",
                        remedy="check the record mapping and target.url",
                    )
                )
            self._give_up(page, delivery.given_up, now)
            return
        while (batch := delivery.next()) is not None:
            self._queue(Parcel(page, batch, goes_alone=page.is_being_isolated))
        page.is_being_isolated = True
        if delivery.done:
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

    def _give_up(self, page: UndeliveredPage, error: ImporterError, now: float) -> None:
        self._close(page)
        page.fetch.audience.failed(page.fetch, error)
        self._settle(page.fetch.audience, now)

    def _close(self, page: UndeliveredPage) -> None:
        page.is_open = False
        self._target(page.fetch.audience).undelivered -= page.page.shape.length

    def _settle(self, audience: AudienceSync, now: float) -> None:
        self._target(audience).service.unpark(now)
        self._settled(audience, now)

    def _queue(self, parcel: Parcel) -> None:
        audience = parcel.page.fetch.audience
        target = self._target(audience)
        target.queue.append(parcel)
        target.queued[audience] += 1
        self._offer(target)

    def _offer(self, target: _Target) -> None:
        if not target.offered:
            target.offered = True
            self._round.append(target)

    def _drop_closed(self, target: _Target, now: float) -> None:
        """Take out of the front of the queue what needs no posting any more."""
        while target.queue:
            page = target.queue[0].page
            stopped = self._stopped.get(page.fetch.audience.plan.name.client)
            if page.is_open and stopped is None:
                return
            self._taken(target, 0)
            if page.is_open and stopped is not None:
                self._give_up(page, stopped, now)

    def _count_failure(self, audience: AudienceSync, error: TriesUsedUp, now: float) -> None:
        """Leave a target alone that gave window after window no success: this client's, or the URL for all its clients."""
        target, client, most = self._target(audience), audience.plan.name.client, self._limits.failures_in_a_row
        target.service.failures_in_a_row += 1
        self._client_failures[client] = self._client_failures.get(client, 0) + 1
        down = TargetDown(
            f"the target gave {most} windows in a row no success ({error.problem})",
            remedy=error.remedy or "run it again when the target is back",
        )
        if target.service.failures_in_a_row >= most:
            for sender in sorted(target.clients):
                self._stop(sender, down, now)
        elif self._client_failures[client] >= most:
            self._stop(client, down, now)

    def _stop(self, client: str, error: StopClient, now: float) -> None:
        self._stopped.setdefault(client, error)
        self._stop_client(client, error, now)
