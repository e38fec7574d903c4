"""A history in memory, for the simulation: it survives the simulated death of a process."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from copy import copy

from importer_pipeline.engine.outcomes import (
    AudienceDone,
    ContactsRefused,
    FingerprintChanged,
    HourImported,
    Outcome,
    PartitionRef,
    SnapshotKnown,
    WindowImported,
)
from importer_pipeline.listing.hours import parse_hour_key
from importer_pipeline.listing.snapshots import AudienceName, ImportedWindow, Latest, Snapshot
from importer_pipeline.planning.chain import (
    Evidence,
    FormChanged,
    HourCompleted,
    SnapshotCompleted,
    SnapshotTaken,
    View,
)
from importer_pipeline.planning.quarantine import Entry, Quarantine


class MemoryHistory:
    """The parts of the outcomes that outlive a process.

    Attributes:
        kept: the entries of the quarantine.
        quarantine: this process's view of the quarantine.
        refused: ids of contacts that were refused while a snapshot was read, by its id.
    """

    def __init__(self) -> None:
        self._snapshots: dict[AudienceName, Snapshot] = {}
        self._windows: dict[str, dict[str, ImportedWindow]] = {}
        self._completed: set[str] = set()
        self._evidence: defaultdict[AudienceName, list[Evidence]] = defaultdict(list)
        self._now = 0.0
        self.kept: dict[PartitionRef, Entry] = {}
        self.quarantine = Quarantine(began=0.0)
        self.refused: dict[str, set[str]] = {}

    def begin(self, now: float) -> "MemoryHistory":
        """Begin a process: the same history, with its own view of the quarantine."""
        begun = copy(self)
        begun.quarantine = Quarantine(began=now)
        begun._now = now
        return begun

    def open_entries(self, name: AudienceName) -> list[Entry]:
        """Return the entries of an audience in the quarantine, whichever process wrote them."""
        return [entry for entry in self.kept.values() if entry.ref.name == name]

    def evidence(self, names: Sequence[AudienceName], view: View) -> Mapping[AudienceName, Sequence[Evidence]]:
        """Implement `history.History`."""
        return {name: list(reversed(self._evidence[name])) for name in names}

    def entries(self, names: Sequence[AudienceName]) -> Sequence[Entry]:
        """Implement `history.History`."""
        for ref in [ref for ref in self.quarantine.entries if ref.name in names]:
            self.quarantine.forget(ref)
        entries = [entry for name in names for entry in self.open_entries(name)]
        self.quarantine.entries.update({entry.ref: entry for entry in entries})
        return entries

    def latest(self, names: Sequence[AudienceName]) -> Mapping[AudienceName, Latest]:
        """Implement `history.History`."""
        return {
            name: Latest(snapshot=snapshot, completed=snapshot.id in self._completed)
            for name in names
            if (snapshot := self._snapshots.get(name)) is not None
        }

    def windows(self, name: AudienceName, snapshot: Snapshot) -> Mapping[str, ImportedWindow]:
        """Implement `history.History`."""
        known = self._snapshots.get(name)
        return dict(self._windows[snapshot.id]) if known is not None and known.id == snapshot.id else {}

    def forget_hours(self, name: AudienceName) -> None:
        """Forget its hours, as if the asset were wiped."""
        self._evidence[name] = [it for it in self._evidence[name] if not isinstance(it, HourCompleted)]

    def record(self, outcome: Outcome) -> None:
        """Keep what a later run needs to know."""
        for ref in self.quarantine.note(outcome, now=self._now):
            if ref in self.quarantine.entries:
                self.kept[ref] = self.quarantine.entries[ref]
            else:
                self.kept.pop(ref, None)
        if isinstance(outcome, FingerprintChanged):
            self._evidence[outcome.name].append(FormChanged(fingerprint=outcome.fingerprint))
            if (snapshot := self._snapshots.get(outcome.name)) is not None:
                self._windows[snapshot.id] = {}
        elif isinstance(outcome, SnapshotKnown):
            self._evidence[outcome.name].append(SnapshotTaken(fingerprint=outcome.snapshot.fingerprint))
            self._snapshots[outcome.name] = outcome.snapshot
            self._windows.setdefault(outcome.snapshot.id, {})
            self.refused.setdefault(outcome.snapshot.id, set())
        elif isinstance(outcome, WindowImported):
            self._windows[outcome.snapshot_id][outcome.window] = outcome.imported
        elif isinstance(outcome, HourImported):
            hour = parse_hour_key(outcome.hour)
            assert hour is not None
            self._evidence[outcome.name].append(
                HourCompleted(fingerprint=outcome.fingerprint, hour=hour, chain_from=outcome.chain_from)
            )
        elif isinstance(outcome, ContactsRefused) and outcome.snapshot_id is not None:
            self.refused[outcome.snapshot_id].update(contact.contact_id for contact in outcome.contacts)
        elif isinstance(outcome, AudienceDone) and outcome.snapshot is not None and _is_over(outcome):
            snapshot = outcome.snapshot
            self._evidence[outcome.name].append(
                SnapshotCompleted(fingerprint=snapshot.fingerprint, snapshot=snapshot.id, before=snapshot.before)
            )
            if outcome.complete:
                self._completed.add(snapshot.id)


def _is_over(done: AudienceDone) -> bool:
    return done.complete or done.is_accounted_for
