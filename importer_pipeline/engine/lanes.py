"""The queues for a target URL: a lane for each client that posts there, and the connections that they share. Pure.

A rate limit, a key and an account at the target belong to one client. So each lane pauses, has doubts and fails on its
own, and takes turns with the others for the connections of the URL. Stays out: the meaning of an answer for a page
(`posting.py`).
"""

import math
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from importer_pipeline.engine.audience_sync import AudienceSync
from importer_pipeline.engine.posts import PendingBatch, Post, Probe
from importer_pipeline.engine.services import Service
from importer_pipeline.errors import ImporterError


@dataclass(frozen=True, eq=False, slots=True)
class Doubt:
    """A post that failed for the last time before it is clear whether its contacts are the cause."""

    post: Post
    error: ImporterError


@dataclass(eq=False, slots=True)
class Lane:
    """A client's queue for a target URL."""

    client: str
    url: "TargetUrl"
    service: Service
    """The client's own limit: its pauses after a 429, and the number of its posts in flight."""
    post_records: int
    """Records of a post, where small pages of an audience go together."""
    doubts: list[Doubt] = field(default_factory=list[Doubt])
    """Until they are settled, only a probe is sent."""
    probing: bool = False
    """True if a probe is in flight."""
    alive_at: float = -math.inf
    """Time of the newest request whose answer shows that the target is up and accepts the key."""
    is_failing: bool = False
    """True if a request has failed or was throttled and there has been no such answer since. Then one request is sent
    at a time, and its queue takes no room from the other clients."""
    failures_in_a_row: int = 0
    """Windows that failed since then."""
    undelivered: int = 0
    """Contacts in pages that are neither delivered nor abandoned."""
    offered: bool = False
    """True if it is in the URL's round."""
    _queue: deque[PendingBatch] = field(default_factory=deque[PendingBatch])
    _queued: Counter[AudienceSync] = field(default_factory=Counter[AudienceSync])
    """Queued batches of each audience."""

    @property
    def has_work(self) -> bool:
        """True if a request could go out, if there is a connection."""
        while self._queue and not self._queue[0].page.is_open:
            self._take_out(0)
        return not self.probing if self.doubts else bool(self._queue)

    def acquire(self, now: float) -> bool:
        """Count one more request as in flight, if the client's own count allows it."""
        if self.is_failing and self.service.in_flight:
            return False
        return self.service.acquire(now)

    def add(self, pending: PendingBatch) -> None:
        """Queue a batch."""
        self._queue.append(pending)
        self._queued[pending.page.fetch.audience] += 1

    def add_first(self, post: Post) -> None:
        """Queue the batches of a throttled post again, before all else."""
        for pending in reversed(post.batches):
            self._queue.appendleft(pending)
            self._queued[pending.page.fetch.audience] += 1

    def clear(self, audience: AudienceSync | None = None) -> Iterator[PendingBatch]:
        """Remove and return all queued batches of an audience, or of all audiences, including those in doubt."""
        doubts = [doubt for doubt in self.doubts if audience in (None, doubt.post.audience)]
        queued = [pending for pending in self._queue if audience in (None, pending.page.fetch.audience)]
        self.doubts = [doubt for doubt in self.doubts if doubt not in doubts]
        self._queue = deque(pending for pending in self._queue if audience not in (None, pending.page.fetch.audience))
        self._queued = Counter(pending.page.fetch.audience for pending in self._queue)
        return iter([pending for doubt in doubts for pending in doubt.post.batches] + queued)

    def take(self, now: float) -> Post | Probe:
        """Return the next request. Call this only if there is one."""
        if self.doubts:
            self.probing = True
            return Probe(self.doubts[0].post.audience, now)
        return Post(tuple(self._next_batches()), now)

    def hold(self, contacts: int) -> None:
        """Add to the number of undelivered contacts, or subtract if negative."""
        self.undelivered += contacts
        if not self.is_failing:
            self.url.undelivered += contacts

    def note_failure(self) -> None:
        """Note that a request failed or was throttled."""
        if not self.is_failing:
            self.is_failing = True
            self.url.failing_lanes += 1
            self.url.undelivered -= self.undelivered

    def note_answer(self, requested_at: float) -> list[Doubt]:
        """Note that the target is up and accepts the key; return the doubts that this settles."""
        self.alive_at = max(self.alive_at, requested_at)
        if self.is_failing:
            self.is_failing = False
            self.url.failing_lanes -= 1
            self.url.undelivered += self.undelivered
        self.failures_in_a_row = 0
        settled = [doubt for doubt in self.doubts if doubt.post.requested_at <= self.alive_at]
        self.doubts = [doubt for doubt in self.doubts if doubt.post.requested_at > self.alive_at]
        return settled

    def _next_batches(self) -> Iterator[PendingBatch]:
        """Yield the first in the queue, and after a small page further small ones of its audience."""
        first = self._take_out(0)
        audience, size = first.page.fetch.audience, len(first.batch.contacts)
        yield first
        index = 0
        while not first.goes_alone and self._queued[audience] and index < len(self._queue):
            pending = self._queue[index]
            more = len(pending.batch.contacts)
            if (
                pending.page.fetch.audience is audience
                and pending.page.is_open
                and not pending.goes_alone
                and size + more <= self.post_records
            ):
                size += more
                yield self._take_out(index)
            else:
                index += 1

    def _take_out(self, index: int) -> PendingBatch:
        pending = self._queue[index]
        del self._queue[index]
        self._queued[pending.page.fetch.audience] -= 1
        return pending


@dataclass(eq=False, slots=True)
class TargetUrl:
    """A target URL."""

    service: Service
    lanes: dict[str, Lane] = field(default_factory=dict[str, Lane])
    """By client."""
    offered: bool = False
    """True if it is in the round of URLs that may have something to post."""
    alive_at: float = -math.inf
    """As of a lane, for any client."""
    failures_in_a_row: int = 0
    """Windows of any client that failed since then."""
    failed_clients: set[str] = field(default_factory=set[str])
    """The clients of these windows."""
    undelivered: int = 0
    """Contacts in pages that are neither delivered nor abandoned, of the clients that are not failing."""
    failing_lanes: int = 0
    """Number of the clients that are failing."""
    _round: deque[Lane] = field(default_factory=deque[Lane])
    """The lanes that may have something to post."""

    @property
    def has_work(self) -> bool:
        """True if a request could go out, if there is a connection to the URL."""
        return bool(self._round)

    def offer(self, lane: Lane) -> None:
        """Add a lane that may have something to post.

        A probe comes before all else: others may be about to fail for the same reason.
        """
        if lane.offered and lane.doubts:
            self._round.remove(lane)
        if lane.doubts:
            self._round.appendleft(lane)
        elif not lane.offered:
            self._round.append(lane)
        lane.offered = True

    def take(self, now: float, offer: Callable[[Lane], None]) -> Post | Probe | None:
        """Return the next request, of the next lane that has one and may send it.

        `offer` is called when the pause of a lane ends.
        """
        while self._round:
            lane = self._round[0]
            if lane.has_work and lane.acquire(now):
                if not self.service.acquire(now):
                    lane.service.put_back(now)
                    return None
                self._round.rotate(-1)
                return lane.take(now)
            self._round.popleft()
            lane.offered = False
            if lane.has_work:
                lane.service.park(now, lambda _, lane=lane: offer(lane))
        return None

    def note_answer(self, requested_at: float) -> None:
        """Note that the target is up, for any client."""
        self.alive_at = max(self.alive_at, requested_at)
        self.failures_in_a_row = 0
        self.failed_clients.clear()
