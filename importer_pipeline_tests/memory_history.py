"""A history that is kept in memory: for the simulation, where a process dies and this is what stays."""

from collections.abc import Mapping, Sequence

from importer_pipeline.outcomes import AudienceDone, ContactsRefused, Outcome, SnapshotKnown, WindowIn
from importer_pipeline.snapshots import AudienceName, ImportedWindow, Latest, Snapshot


class MemoryHistory:
    """What the outcomes told, as far as it outlives a process.

    Attributes:
        refused: ids of contacts that are known as refused, by snapshot.
    """

    def __init__(self) -> None:
        self._snapshots: dict[AudienceName, Snapshot] = {}
        self._windows: dict[str, dict[str, ImportedWindow]] = {}
        self._completed: set[str] = set()
        self.refused: dict[str, set[str]] = {}

    def latest(self, names: Sequence[AudienceName]) -> Mapping[AudienceName, Latest]:
        """See `snapshots.History`."""
        return {
            name: Latest(snapshot=snapshot, completed=snapshot.id in self._completed)
            for name in names
            if (snapshot := self._snapshots.get(name)) is not None
        }

    def windows(self, name: AudienceName, snapshot: Snapshot) -> Mapping[str, ImportedWindow]:
        """See `snapshots.History`."""
        known = self._snapshots.get(name)
        return dict(self._windows[snapshot.id]) if known is not None and known.id == snapshot.id else {}

    def record(self, outcome: Outcome) -> None:
        """Keep what a later run will want to know."""
        if isinstance(outcome, SnapshotKnown):
            self._snapshots[outcome.name] = outcome.snapshot
            self._windows.setdefault(outcome.snapshot.id, {})
            self.refused.setdefault(outcome.snapshot.id, set())
        elif isinstance(outcome, WindowIn):
            self._windows[outcome.snapshot_id][outcome.window] = outcome.imported
        elif isinstance(outcome, ContactsRefused):
            ids = {contact.contact_id for contact in outcome.contacts}
            self.refused[self._snapshots[outcome.name].id].update(ids)
        elif isinstance(outcome, AudienceDone) and outcome.complete and outcome.snapshot is not None:
            self._completed.add(outcome.snapshot.id)
