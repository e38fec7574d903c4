"""Derives the outcomes of an audience that is read by windows, in an order that later runs can rely on. Pure.

The snapshot is reported before its first window, so that it can be resumed wherever the process dies.
"""

from collections import Counter, deque

from importer_pipeline.engine.audience_plan import AudiencePlan, SnapshotScope
from importer_pipeline.engine.outcomes import (
    AudienceDone,
    ContactsRefused,
    ContactsSettled,
    Outcome,
    Part,
    PartCounts,
    PartitionRef,
    ReadTotals,
    RunCounts,
    SnapshotKnown,
    WindowFailed,
    WindowImported,
)
from importer_pipeline.engine.pages import ListingKind
from importer_pipeline.engine.repeats import Repeats
from importer_pipeline.engine.report import (
    DeliveredPage,
    PageCounts,
    Quarantined,
    Walks,
    errors_of,
    refused_of,
    windows_of,
)
from importer_pipeline.errors import ImporterError
from importer_pipeline.listing.coverage import BEGINNING, Paging
from importer_pipeline.listing.snapshots import ImportedWindow, Snapshot, window_key
from importer_pipeline.listing.spans import Unreadable, Window

_MAX_HELD = 10
"""Outcomes held until the number of archived contacts is known; then the snapshot is reported without it."""


class AudienceReport:
    """Derives the outcomes of an audience that is read by windows.

    Args:
        plan: the audience.
        scope: the windows to read.
        snapshot_id: ID of a new snapshot.
        paging: how it is divided into windows.

    Attributes:
        outcomes: what has happened since this was last emptied.
        accepted: contacts of the snapshot that the target has accepted so far, in all runs.
    """

    def __init__(self, plan: AudiencePlan, scope: SnapshotScope, *, snapshot_id: str, paging: Paging) -> None:
        earlier = scope.earlier
        self._plan = plan
        self._snapshot_id = snapshot_id if earlier is None else earlier.snapshot.id
        self._paging = paging
        self._held: deque[Outcome] = deque()
        self._recorded: Snapshot | None = None
        self._lacking: Counter[str] = Counter()
        self._refused_ids: set[str] = set()
        self._refused_without_id = 0
        self._read_now = self._read_again = self._accepted_now = self._requests_now = 0
        self._repeats = Repeats()
        self._earlier: list[ImportedWindow] = []
        if earlier is not None:
            again = scope.wanted or frozenset()
            self._earlier = [window for key, window in earlier.windows.items() if key not in again]
        self._quarantined = Quarantined(plan.quarantined)
        self._accepted_earlier = sum(window.accepted for window in self._earlier)
        self.outcomes: deque[Outcome] = deque()

    @property
    def accepted(self) -> int:
        """Number of contacts of the snapshot that the target has accepted so far, in all runs."""
        return self._accepted_earlier + self._accepted_now

    def count_request(self) -> None:
        """Count a request."""
        self._requests_now += 1

    def delivered(self, delivered: DeliveredPage) -> PageCounts:
        """Take in a delivered page, and return what counts with it."""
        counts = self._repeats.count(delivered)
        self._read_now += counts.read
        self._read_again += len(counts.again)
        self._accepted_now += counts.accepted
        self._lacking.update(delivered.page.lacking)
        name = self._plan.name
        if settled := self._quarantined.settled_by(delivered):
            self._held.append(ContactsSettled(name=name, contact_ids=settled))
        if delivered.refused:
            self._refused_ids.update(contact.contact_id for contact in delivered.refused if contact.contact_id)
            self._refused_without_id += sum(not contact.contact_id for contact in delivered.refused)
            self._held.append(
                ContactsRefused(
                    ref=PartitionRef(name=name, part=Part.WINDOW, key=delivered.window),
                    snapshot_id=self._snapshot_id,
                    fingerprint=self._plan.fingerprint,
                    contacts=tuple(delivered.refused),
                )
            )
        return counts

    def failed(self, contact_id: str, error: ImporterError) -> None:
        """Do nothing: contacts are not requested by their IDs here."""

    def collect(self, walks: Walks, before: int) -> None:
        """Report what the walks have proved."""
        self._hold(walks)
        snapshot = self._snapshot(walks, before)
        if snapshot is None:
            return
        is_time = snapshot.archived_total is not None or len(self._held) >= _MAX_HELD
        if self._recorded is not None or (self._held and is_time):
            self._emit(snapshot)

    def emit_pending(self, walks: Walks, before: int) -> None:
        """Emit what is held until the number of archived contacts is known: the process may end first."""
        self._hold(walks)
        snapshot = self._snapshot(walks, before)
        if snapshot is not None and self._held:
            self._emit(snapshot)

    def done(
        self, walks: Walks, before: int, *, elapsed_seconds: float, rate_limited: int, stopped: ImporterError | None
    ) -> None:
        """Emit what is held, and last `AudienceDone`."""
        self._hold(walks)
        snapshot = self._snapshot(walks, before)
        if snapshot is not None:
            self._emit(snapshot)
        planned = {} if snapshot is None else _planned(walks)
        errors = errors_of(walks)
        failed = tuple(key for key, window in windows_of(planned) if window.error is not None)
        left = sum(walk.left for walk in planned.values())
        self.outcomes.append(
            AudienceDone(
                name=self._plan.name,
                part=Part.WINDOW,
                snapshot=snapshot,
                parts=PartCounts(total=len(windows_of(planned)), failed=failed, left=left),
                is_proved=len(planned) == 2 and all(walk.is_proved for walk in planned.values()),
                totals=ReadTotals(
                    read=self._read_now + sum(window.read for window in self._earlier),
                    read_again=self._read_again,
                    accepted=self.accepted,
                    refused=self._refused_now + sum(window.refused for window in self._earlier),
                    requests=self._requests_now + sum(window.requests for window in self._earlier),
                ),
                run=RunCounts(
                    accepted=self._accepted_now,
                    refused=self._refused_now,
                    elapsed_seconds=elapsed_seconds,
                    rate_limited=rate_limited,
                ),
                lacking=() if errors or left else self._lacking_in_all(),
                error=stopped or (errors[0] if errors else None),
            )
        )

    @property
    def _refused_now(self) -> int:
        return len(self._refused_ids) + self._refused_without_id

    def _hold(self, walks: Walks) -> None:
        for kind, walk in _planned(walks).items():
            while walk.unreadable:
                self._hold_unreadable(walk.unreadable.popleft(), kind)
            while walk.reports:
                self._held.append(self._window_outcome(walk.reports.popleft(), kind))

    def _hold_unreadable(self, found: Unreadable, kind: ListingKind) -> None:
        contacts = refused_of(found)
        self._read_now += len(contacts)
        self._refused_ids.update(contact.contact_id for contact in contacts if contact.contact_id)
        self._refused_without_id += sum(not contact.contact_id for contact in contacts)
        key = window_key(found.window, archived=kind.is_archived)
        self._held.append(
            ContactsRefused(
                ref=PartitionRef(name=self._plan.name, part=Part.WINDOW, key=key),
                snapshot_id=self._snapshot_id,
                fingerprint=self._plan.fingerprint,
                contacts=contacts,
            )
        )

    def _window_outcome(self, window: Window, kind: ListingKind) -> WindowImported | WindowFailed:
        key = window_key(window.offset, archived=kind.is_archived)
        if window.error is not None:
            return WindowFailed(
                name=self._plan.name,
                snapshot_id=self._snapshot_id,
                window=key,
                fingerprint=self._plan.fingerprint,
                error=window.error,
            )
        return WindowImported(
            name=self._plan.name,
            snapshot_id=self._snapshot_id,
            window=key,
            imported=window.imported,
            elapsed_seconds=window.elapsed_seconds,
            is_kept=window.is_kept,
        )

    def _snapshot(self, walks: Walks, before: int) -> Snapshot | None:
        active, archived = walks.get(ListingKind.ACTIVE), walks.get(ListingKind.ARCHIVED)
        if active is None or not active.planned:
            return None
        return Snapshot(
            id=self._snapshot_id,
            fingerprint=self._plan.fingerprint,
            since=BEGINNING,
            before=before,
            total=active.total,
            archived_total=archived.total if archived is not None and archived.planned else None,
            page_size=self._paging.page_size,
            overlap=self._paging.overlap,
        )

    def _emit(self, snapshot: Snapshot) -> None:
        if snapshot != self._recorded:
            self._recorded = snapshot
            self.outcomes.append(SnapshotKnown(name=self._plan.name, snapshot=snapshot))
        self.outcomes.extend(self._held)
        self._held.clear()

    def _lacking_in_all(self) -> tuple[str, ...]:
        """Return the paths that no contact of the snapshot has; none if this run has not read all of it."""
        if self._earlier:
            return ()
        delivered = self._read_now + self._read_again
        return tuple(path for path, count in sorted(self._lacking.items()) if count == delivered)


def _planned(walks: Walks) -> Walks:
    """Return the walks whose windows are known: only these can be reported."""
    return {kind: walk for kind, walk in walks.items() if walk.planned}
