"""The engine: many audiences of many accounts at once. Which request next, and what an answer means.

A plain object without threads, clock or sleep: `runner/workers.py` drives it in production, a seeded loop in the
simulation. Both ask `take` for a request, send it, and report the result. Two kinds of requests are in flight at once,
so that reading and delivering overlap: pages from Mailchimp (`Fetch`) and batches to the targets (`Post`; `Probe` if it
holds no contact). This module keeps the audiences; `fetch_queue.py` and `fetching.py` are the Mailchimp side, and
`posting.py` is the target side.
"""

from collections import Counter, deque
from collections.abc import Sequence
from random import Random

from importer_pipeline.engine.audience_plan import AudiencePlan
from importer_pipeline.engine.audience_sync import AudienceSync, Fetch
from importer_pipeline.engine.concurrency import LimiterRegistry
from importer_pipeline.engine.fetch_queue import FetchQueue
from importer_pipeline.engine.fetching import Fetching
from importer_pipeline.engine.outcomes import Outcome, Progress
from importer_pipeline.engine.pages import Page
from importer_pipeline.engine.posting import Posting
from importer_pipeline.engine.posts import Post, Probe
from importer_pipeline.engine.services import SyncLimits, Timers
from importer_pipeline.engine.time_budget import TimeBudget
from importer_pipeline.errors import ImporterError, StopClient, TooManyRequests
from importer_pipeline.listing.coverage import Paging
from importer_pipeline.records.receipt import Receipt


class Sync:
    """A sync of many audiences.

    Args:
        plans: the audiences, each once.
        paging: how they are cut into windows.
        limits: how much at once, and how long.
        limiters: the counts of connections, shared by everything in the process.
        rng: for the jitter of pauses.
        epoch_offset_seconds: seconds to add to the clock that is passed in, which only goes forward, to get epoch
            seconds.
        began_at: start of the run, by that clock; None for the first call of `take`.

    Attributes:
        outcomes: what has happened since the caller last emptied this.
    """

    def __init__(
        self,
        plans: Sequence[AudiencePlan],
        *,
        paging: Paging,
        limits: SyncLimits,
        limiters: LimiterRegistry,
        rng: Random,
        epoch_offset_seconds: float,
        began_at: float | None = None,
    ) -> None:
        self._timers = Timers()
        self._time = TimeBudget(limits, began_at=began_at)
        self._posting = Posting(
            limits=limits,
            page_size=paging.page_size,
            timers=self._timers,
            rng=rng,
            stop_client=self.stop_client,
            settled=self._settle,
        )
        self._queue = FetchQueue(
            limits=limits,
            timers=self._timers,
            epoch_offset_seconds=epoch_offset_seconds,
            posting=self._posting,
            time=self._time,
            settled=self._settle,
            note_activity=self._note_activity,
        )
        self._fetching = Fetching(
            limits=limits,
            page_size=paging.page_size,
            timers=self._timers,
            rng=rng,
            epoch_offset_seconds=epoch_offset_seconds,
            queue=self._queue,
            posting=self._posting,
            time=self._time,
            stop_client=self.stop_client,
        )
        self._clients: dict[str, list[AudienceSync]] = {}
        self._in_flight: Counter[AudienceSync] = Counter()
        self.outcomes: deque[Outcome] = deque()
        self._audiences = [
            AudienceSync(plan, paging=paging, snapshot_id=f"{rng.getrandbits(64):016x}") for plan in plans
        ]
        self._open = dict.fromkeys(self._audiences)  # In order, so that a seed is replayed alike.
        for audience in self._audiences:
            self._clients.setdefault(audience.plan.name.client, []).append(audience)
            self._posting.enter(audience, limiters)
            self._queue.enter(audience, limiters)

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
        """Latest time of the next call of `take`, because a pause ends."""
        return self._timers.next

    def wind_down(self) -> None:
        """Send no more requests to Mailchimp. What has been read can still be delivered."""
        self._queue.wind_down()

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
        self._enforce_time_limits(now)
        self._timers.run(now)
        request = self._posting.take(now) or self._queue.take(now)
        if request is not None:
            self._in_flight[request.audience] += 1
        return request

    def connection_freed(self, request: Fetch | Post | Probe, now: float) -> None:
        """Free a request's connection, whatever came of it. Call this before reporting the result."""
        self._in_flight[request.audience] -= 1
        if isinstance(request, Fetch):
            self._queue.connection_freed(request, now)
        else:
            self._posting.connection_freed(request, now)

    def fetched(self, fetch: Fetch, page: Page, now: float) -> None:
        """Handle a page from Mailchimp."""
        self._fetching.fetched(fetch, page, now)
        self._settle(fetch.audience, now)

    def fetch_failed(self, fetch: Fetch, error: ImporterError, now: float) -> None:
        """Handle an error of Mailchimp, or a missing answer."""
        self._fetching.failed(fetch, error, now)
        self._settle(fetch.audience, now)

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

    def _settle(self, audience: AudienceSync, now: float) -> None:
        """Continue an audience after an event of one of its pages, or find that it is done.

        It is not done while any request of it is in flight: once it is reported as done, another sync may get its
        account.
        """
        if audience in self._open and not self._in_flight[audience] and audience.done(now):
            del self._open[audience]
        elif audience.has_ready:
            self._queue.offer(audience)
        self._take_outcomes(audience)

    def _take_outcomes(self, audience: AudienceSync) -> None:
        self.outcomes.extend(audience.outcomes)
        audience.outcomes.clear()

    def _note_activity(self, client: str, now: float) -> None:
        """Note that a target answers a client: none of its audiences stalls, whichever has its turn."""
        self._time.note_progress_of_started(self._clients[client], now)

    def _enforce_time_limits(self, now: float) -> None:
        """Abandon audiences that stall, and all open ones once the run's time is used up."""
        for audience, error in self._time.overdue(self._open, now):
            audience.stop(error)
            self._posting.leave(audience, error, now)
            self._settle(audience, now)
