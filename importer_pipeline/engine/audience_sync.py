"""One audience in a sync: its two walks (active contacts, then archived ones) and the pages they request.

Pure. Connections, retries and the target are decided in `engine.sync`, the upper time bound by the plan's scope, and
the outcomes by a `Report`.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from importer_pipeline.engine.audience_plan import AudiencePlan, ContactsScope, HoursScope, SnapshotScope
from importer_pipeline.engine.audience_report import AudienceReport
from importer_pipeline.engine.contacts_report import ContactsReport
from importer_pipeline.engine.hours_report import HoursReport
from importer_pipeline.engine.outcomes import Outcome, RefusedContact
from importer_pipeline.engine.pages import ListingKind, Page
from importer_pipeline.engine.report import DeliveredPage, Report
from importer_pipeline.errors import ImporterError
from importer_pipeline.listing.coverage import BEGINNING, ContactRequest, PageRequest, Paging
from importer_pipeline.listing.snapshots import SnapshotProgress, parse_window_key, window_key
from importer_pipeline.listing.spans import Purpose
from importer_pipeline.listing.walk import Reading, Walk


@dataclass(eq=False, slots=True)
class Fetch:
    """One request to Mailchimp: a page of one of the audience's two walks."""

    audience: "AudienceSync"
    walk: Walk
    listing: ListingKind
    reading: Reading
    requested_at: float
    """Time at which it was last sent, by the engine's clock."""
    tries: int = 0
    """Number of failures that may have been temporary."""
    was_empty: bool = False
    """True if its answer had no contact; believed only if repeated."""

    @property
    def archived(self) -> bool:
        """True if it asks for archived contacts."""
        return self.listing.is_archived

    @property
    def request(self) -> PageRequest | ContactRequest:
        """The page or the contact to request."""
        return self.reading.request

    @property
    def is_suspect(self) -> bool:
        """True if it is part of a page that has failed repeatedly."""
        return self.reading.is_suspect

    @property
    def contact_id(self) -> str | None:
        """ID of a contact that is requested by it; None for pages."""
        return self.request.contact_id if isinstance(self.request, ContactRequest) else None

    @property
    def key(self) -> str:
        """Key of the window that it is reported under."""
        return window_key(self.reading.window, archived=self.archived)


class AudienceSync:
    """An audience that is being synced.

    Args:
        plan: the audience and what to read.
        paging: how a new snapshot is divided into windows; a resumed one keeps its own.
        snapshot_id: ID of a new snapshot.

    Attributes:
        plan: the audience and what to read.
        stopped: why nothing more is read, if so.
        abandoned_in_a_row: consecutive windows of which the target refused too many records.
        rate_limited: requests that Mailchimp answered with 429.
    """

    def __init__(self, plan: AudiencePlan, *, paging: Paging, snapshot_id: str) -> None:
        self.plan = plan
        self.stopped: ImporterError | None = None
        self.abandoned_in_a_row = 0
        self.rate_limited = 0
        self._due: deque[Fetch] = deque()
        self._waiting: dict[Fetch, None] = {}  # In order, so that a seed is replayed alike.
        self._walks: dict[ListingKind, Walk] = {}
        self._before = 0
        self._is_second_try = False
        self._started_at: float | None = None
        self._done = False
        self._has_nothing = False
        self._paging = paging
        scope = plan.scope
        if isinstance(scope, SnapshotScope):
            if scope.earlier is not None:
                snapshot = scope.earlier.snapshot
                self._before = snapshot.before
                self._paging = replace(paging, page_size=snapshot.page_size, overlap=snapshot.overlap)
                self._resume(scope, scope.earlier)
            self._report: Report = AudienceReport(plan, scope, snapshot_id=snapshot_id, paging=self._paging)
        elif isinstance(scope, HoursScope):
            self._report = HoursReport(plan, scope)
        else:
            self._walks[ListingKind.ACTIVE] = Walk(since=BEGINNING, before=0, paging=paging)
            self._walks[ListingKind.ACTIVE].read_contacts(scope.contact_ids)
            self._report = ContactsReport(plan, scope)

    @property
    def outcomes(self) -> deque[Outcome]:
        """Outcomes since this was last emptied."""
        return self._report.outcomes

    @property
    def has_ready(self) -> bool:
        """True if there is a page to read now."""
        if not self._walks:
            return self.stopped is None and not self._has_nothing
        return bool(self._due) or any(walk.has_ready for walk in self._walks.values())

    @property
    def ready(self) -> int:
        """Number of pages to read that are known by now."""
        return len(self._due) + sum(walk.ready for walk in self._walks.values())

    @property
    def contacts(self) -> int:
        """Number of contacts to read, as far as known; of a snapshot, in all runs."""
        return sum(walk.total for walk in self._walks.values())

    @property
    def accepted(self) -> int:
        """Number of contacts that the target has accepted so far; of a snapshot, in all runs."""
        return self._report.accepted

    def next(self, now: float, server_now: float) -> Fetch | None:
        """Return the next page to read.

        Args:
            now: the engine's clock.
            server_now: Mailchimp's clock, as far as it is known.
        """
        if self._started_at is None:
            self._started_at = now
        scope = self.plan.scope
        if not self._walks and not isinstance(scope, ContactsScope):
            self._start_active(scope, scope.guess_upper_bound(int(server_now)))
        fetch = self._next_fetch(now)
        if fetch is not None:
            fetch.requested_at = now
            self._report.count_request()
            if not fetch.reading.only_counts:
                window = fetch.walk.windows[fetch.reading.window]
                window.requests += 1
                window.requested_at = now if window.requested_at is None else window.requested_at
        return fetch

    def is_current(self, fetch: Fetch) -> bool:
        """Return whether the request belongs to the current snapshot, not to one that was taken again since."""
        return self._walks.get(fetch.listing) is fetch.walk

    def has_right_upper_bound(self, fetch: Fetch, server_time: int) -> bool:
        """Return whether the page has the right upper time bound; if not, start the audience again.

        The first page is requested with an estimate of Mailchimp's time; its answer has the real one.
        """
        scope = self.plan.scope
        if isinstance(scope, ContactsScope) or self._walks[ListingKind.ACTIVE].planned:
            return True
        if scope.accepts_upper_bound(self._before, server_time, is_second_try=self._is_second_try):
            return True
        self._is_second_try = True
        self._start_active(scope, scope.upper_bound(server_time))
        return False

    def expected(self, fetch: Fetch) -> int:
        """Return the expected size of a page's listing, as known from earlier runs; 0 if unknown."""
        scope = self.plan.scope
        if not isinstance(scope, SnapshotScope) or scope.last is None or fetch.walk.planned or fetch.reading.is_probe:
            return 0
        return (scope.last.archived_total or 0) if fetch.archived else scope.last.total

    def proves_absence(self, fetch: Fetch, page: Page) -> bool:
        """Return whether an empty page would prove that contacts are absent: in a snapshot, or in a gap."""
        purpose, request = fetch.reading.span.purpose, fetch.request
        if not isinstance(request, PageRequest) or purpose is Purpose.PROBE:
            return False
        is_hour = isinstance(self.plan.scope, HoursScope) and purpose is Purpose.WINDOWS
        return not (is_hour or page.shape.total or page.shape.length or request.offset)

    def arrived(self, fetch: Fetch, page: Page) -> None:
        """Take in a page that has been read; it is not delivered yet."""
        fetch.walk.arrived(fetch.reading, page.shape)
        scope = self.plan.scope
        if ListingKind.ARCHIVED not in self._walks and fetch.walk.planned and not isinstance(scope, ContactsScope):
            self._walks[ListingKind.ARCHIVED] = self._new_walk(scope)

    def unseen(self, fetch: Fetch, ids: Iterable[str]) -> set[str] | None:
        """See `Walk.unseen`."""
        return fetch.walk.unseen(fetch.reading, ids)

    def counted(self, fetch: Fetch, page: Page) -> None:
        """Take in a page that was requested only for its total."""
        fetch.walk.delivered(fetch.reading, page.shape, [])
        self._report.collect(self._walks, self._before)

    def delivered(
        self, fetch: Fetch, page: Page, *, accepted: int, refused: list[RefusedContact],
        sent_ids: frozenset[str] | None = None, now: float,
    ) -> None:  # fmt: skip
        """Take in a page of which every contact is at the target or refused.

        Args:
            fetch: the request for it.
            page: the page.
            accepted: contacts that the target accepted.
            refused: the others.
            sent_ids: IDs of the contacts that were sent, if some were not; see `unseen`.
            now: the engine's clock.
        """
        self.abandoned_in_a_row = 0
        window = fetch.walk.windows[fetch.reading.window]
        window.elapsed_seconds = now - (now if window.requested_at is None else window.requested_at)
        at = (page.server_time or 0) + round(now - fetch.requested_at)
        counts = self._report.delivered(
            DeliveredPage(
                page=page,
                window=fetch.key,
                accepted=accepted,
                refused=refused,
                sent_ids=sent_ids,
                at=at,
                contact_id=fetch.contact_id,
            )
        )
        window.read += counts.read
        window.accepted += counts.accepted
        window.refused += counts.refused
        fetch.walk.delivered(fetch.reading, page.shape, (contact.contact_id for contact in page.contacts))
        self._report.collect(self._walks, self._before)

    def failed(self, fetch: Fetch, error: ImporterError) -> None:
        """Fail a page, and its window with it."""
        if fetch.contact_id is not None:
            self._report.failed(fetch.contact_id, error)
        fetch.walk.failed(fetch.reading, error)
        self._report.collect(self._walks, self._before)

    def read_around(self, fetch: Fetch, error: ImporterError) -> bool:
        """See `Walk.read_around`."""
        is_left = fetch.walk.read_around(fetch.reading, error)
        self._report.collect(self._walks, self._before)
        return is_left

    def read_before(self, fetch: Fetch, error: ImporterError) -> bool:
        """See `Walk.read_before`."""
        is_left = fetch.walk.read_before(fetch.reading, error)
        self._report.collect(self._walks, self._before)
        return is_left

    def ends_before(self, fetch: Fetch, error: ImporterError) -> bool:
        """See `Walk.ends_before`."""
        ends = fetch.walk.ends_before(fetch.reading, error)
        self._report.collect(self._walks, self._before)
        return ends

    def probe(self, fetch: Fetch) -> None:
        """Request a page that is always empty, of the listing of a failing page."""
        fetch.walk.probe()

    def split(self, fetch: Fetch, error: ImporterError) -> bool:
        """Request halves of a page instead; return False if it is too small."""
        return fetch.walk.split(fetch.reading, error)

    def await_retry(self, fetch: Fetch) -> None:
        """Let a request wait for its retry."""
        self._waiting[fetch] = None

    def requeue(self, fetch: Fetch) -> bool:
        """Queue a request whose retry is due; return False if it has failed meanwhile."""
        if fetch not in self._waiting:
            return False
        del self._waiting[fetch]
        self._due.append(fetch)
        return True

    def stop(self, error: ImporterError) -> None:
        """Read nothing more of this audience. Pages under way continue."""
        if self.stopped is not None:
            return
        self.stopped = error
        for fetch in [*self._due, *self._waiting]:
            fetch.walk.failed(fetch.reading, error)
        self._due.clear()
        self._waiting.clear()
        for walk in self._walks.values():
            walk.stop(error)
        self._report.collect(self._walks, self._before)

    def emit_pending(self) -> None:
        """See `AudienceReport.emit_pending`."""
        self._report.emit_pending(self._walks, self._before)

    def done(self, now: float) -> bool:
        """Return whether the audience is done; emit `AudienceDone` the first time."""
        if not self._done and self._is_finished():
            self._done = True
            elapsed = now - (now if self._started_at is None else self._started_at)
            self._report.done(
                self._walks,
                self._before,
                elapsed_seconds=elapsed,
                rate_limited=self.rate_limited,
                stopped=self.stopped,
            )
        return self._done

    def _is_finished(self) -> bool:
        if not self._walks:
            return self.stopped is not None or self._has_nothing
        return all(walk.finished for walk in self._walks.values())

    def _start_active(self, scope: SnapshotScope | HoursScope, before: int) -> None:
        self._before = before
        self._due.clear()
        self._waiting.clear()
        self._walks = {}
        if isinstance(scope, HoursScope) and before < scope.first:
            self._has_nothing = True
        else:
            self._walks[ListingKind.ACTIVE] = self._new_walk(scope)

    def _new_walk(self, scope: SnapshotScope | HoursScope) -> Walk:
        walk = Walk(since=scope.since, before=self._before, paging=self._paging)
        if isinstance(scope, SnapshotScope) and scope.wanted is not None:
            walk.count_windows()
        else:
            walk.read_all()
        return walk

    def _resume(self, scope: SnapshotScope, earlier: SnapshotProgress) -> None:
        wanted = scope.wanted
        totals = {
            ListingKind.ACTIVE: earlier.snapshot.total,
            ListingKind.ARCHIVED: earlier.snapshot.archived_total,
        }
        for kind, total in totals.items():
            if total is None:
                self._walks[kind] = self._new_walk(scope)
                continue
            self._walks[kind] = Walk(since=earlier.snapshot.since, before=self._before, paging=self._paging)
            self._walks[kind].resume(
                total=total,
                known={
                    offset: earlier.windows[window_key(offset, archived=kind.is_archived)]
                    for offset in _offsets(earlier.windows, kind)
                },
                wanted=None if wanted is None else _offsets(wanted, kind),
            )

    def _next_fetch(self, now: float) -> Fetch | None:
        if self._due:
            return self._due.popleft()
        # The archived walk first: it is usually short, and its first page has the total.
        for kind in (ListingKind.ARCHIVED, ListingKind.ACTIVE):
            if kind in self._walks and (reading := self._walks[kind].next()) is not None:
                return Fetch(self, self._walks[kind], kind, reading, now)
        return None


def _offsets(keys: Iterable[str], kind: ListingKind) -> set[int]:
    """Return the offsets of the windows that belong to one listing."""
    parsed = (parse_window_key(key) for key in keys)
    return {it[1] for it in parsed if it is not None and it[0] is kind.is_archived}
