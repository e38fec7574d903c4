"""Snapshots and windows in Dagster's event log: what is written while a sync goes, and what a later one reads of it.

All that a run leaves behind for the next is in these events; there is no other state. An event that is not ours, or of another
format, counts for nothing.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

import dagster as dg

from importer_pipeline.defs.chain_evidence import read_evidence
from importer_pipeline.defs.event_log import (
    materializations,
    newest_materializations,
    newest_observations,
    observations,
)
from importer_pipeline.defs.event_metadata import (
    completes,
    contacts_metadata,
    form_metadata,
    hour_metadata,
    read_snapshot,
    read_window,
    snapshot_metadata,
    window_metadata,
)
from importer_pipeline.defs.event_writing import AssetEvent, Context, plan_partition, store_events, uninterrupted
from importer_pipeline.defs.names import changes_key, contacts_key, windows_key, windows_partitions
from importer_pipeline.defs.partition_rows import renew_partitions
from importer_pipeline.defs.quarantine_events import read_entries, write_entries
from importer_pipeline.defs.stored import Stored
from importer_pipeline.engine.outcomes import (
    AudienceDone,
    FingerprintChanged,
    HourFailed,
    HourImported,
    Outcome,
    SnapshotKnown,
    WindowFailed,
    WindowImported,
)
from importer_pipeline.listing.snapshots import AudienceName, ImportedWindow, Latest, Snapshot
from importer_pipeline.planning.chain import Evidence, View
from importer_pipeline.planning.quarantine import Entry, Quarantine
from importer_pipeline.runner.summary import done_line, hour_line, window_line

_PAGE = 1000
"""Events of windows that are read at once."""

_FEW = 10
"""Events of whole audiences that are read at once: ours is among the first, as a rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedSnapshot:
    """A snapshot as an event tells of it."""

    snapshot: Snapshot
    storage_id: int
    """Of the event."""
    written: float
    """Time of writing, in epoch seconds."""


class EventLogHistory:
    """The history in an instance's event log, and the events of one step.

    Args:
        context: the step's, to which the events belong.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._instance = context.instance
        self._known: dict[AudienceName, Snapshot] = {}
        self._quarantine = Quarantine(began=time.time())
        self._without_windows: set[AudienceName] = set()
        self._snapshots: dict[AudienceName, Snapshot] = {}
        self._wiped: list[dg.AssetKey] = []
        self._events: list[AssetEvent] = []
        self._lines: list[str] = []

    def latest(self, names: Sequence[AudienceName]) -> Mapping[AudienceName, Latest]:
        """See `history.History`."""
        known = newest_materializations(
            self._instance, [key for name in names for key in (contacts_key(name), windows_key(name))]
        )
        self._without_windows = {name for name in names if windows_key(name) not in known}
        observed = newest_observations(self._instance, [contacts_key(name) for name in names])
        found: dict[AudienceName, Latest] = {}
        for name in names:
            key = contacts_key(name)
            if key in observed and (newest := self._newest(name, observed[key])) is not None:
                self._known[name] = newest.snapshot
                completed = self._is_completed(key, newest, known.get(key))
                found[name] = Latest(snapshot=newest.snapshot, completed=completed, written=newest.written)
        return found

    def windows(self, name: AudienceName, snapshot: Snapshot) -> Mapping[str, ImportedWindow]:
        """See `history.History`."""
        found: dict[str, ImportedWindow] = {}
        for event in materializations(self._instance, windows_key(name), page=_PAGE):
            if event.partition is not None and event.partition not in found:
                window = read_window(event.values, snapshot)
                if window is not None:
                    found[event.partition] = window
        return found

    def evidence(self, names: Sequence[AudienceName], view: View) -> Mapping[AudienceName, Sequence[Evidence]]:
        """See `history.History`."""
        return read_evidence(self._instance, names, view)

    def entries(self, names: Sequence[AudienceName]) -> Sequence[Entry]:
        """See `history.History`."""
        entries = read_entries(self._instance, names)
        for name in names:
            for entry in self._quarantine.of(name):
                self._quarantine.forget(entry.ref)
        self._quarantine.entries.update({entry.ref: entry for entry in entries})
        return entries

    def record(self, outcome: Outcome) -> None:
        """Write down what a later run, or a person, will want to know of this outcome; some of it waits for `flush`.

        What goes to the quarantine is written first: a window or hour is imported only once that is recorded.
        """
        changed = self._quarantine.note(outcome, now=time.time())
        write_entries(self._instance, self._context.log_event, self._quarantine, changed, run=self._context.run)
        if isinstance(outcome, FingerprintChanged):
            self._record_change(outcome)
        elif isinstance(outcome, SnapshotKnown):
            self._record_snapshot(outcome)
        elif isinstance(outcome, WindowImported):
            self._events.append(
                dg.AssetMaterialization(
                    windows_key(outcome.name),
                    description=window_line(outcome),
                    partition=outcome.window,
                    metadata=window_metadata(outcome),
                )
            )
        elif isinstance(outcome, WindowFailed):
            if outcome.name in self._snapshots:
                self._write()
            plan_partition(self._context, windows_key(outcome.name), outcome.window)
        elif isinstance(outcome, HourImported):
            self._events.append(
                dg.AssetMaterialization(
                    changes_key(outcome.name),
                    description=hour_line(outcome),
                    partition=outcome.hour,
                    metadata=hour_metadata(outcome),
                )
            )
        elif isinstance(outcome, HourFailed):
            plan_partition(self._context, changes_key(outcome.name), outcome.hour)
        elif isinstance(outcome, AudienceDone) and outcome.complete and outcome.snapshot is not None:
            self._events.append(
                dg.AssetMaterialization(
                    contacts_key(outcome.name),
                    description=done_line(outcome),
                    metadata=contacts_metadata(outcome, outcome.snapshot),
                )
            )
        elif isinstance(outcome, AudienceDone) and outcome.is_accounted_for and outcome.snapshot is not None:
            self._events.append(
                dg.AssetObservation(
                    contacts_key(outcome.name),
                    description="All of the snapshot is imported, except for what is in the quarantine",
                    metadata=contacts_metadata(outcome, outcome.snapshot),
                )
            )

    @property
    def waiting(self) -> int:
        """Events that wait for `flush`."""
        return len(self._events)

    def flush(self) -> list[str]:
        """Write down what waits, in its order.

        Returns:
            a line for each thing that came in, for people: whole audiences first. An hour or a window without contacts
            has none.
        """
        self._write()
        lines, self._lines = self._lines, []
        return lines

    @uninterrupted()
    def _write(self) -> None:
        """Write what waits, each once.

        First the partitions: if the process dies then, the snapshot before is still the newest.
        """
        if self._snapshots or self._wiped:
            keys = {
                name: snapshot.keys
                for audience, snapshot in self._snapshots.items()
                if (name := windows_partitions(audience).name) is not None
            }
            renew_partitions(self._instance, keys, wiped=self._wiped)
            self._snapshots.clear()
            self._wiped.clear()
        store_events(self._context, self._events)
        imported = [
            event for event in self._events if isinstance(event, dg.AssetMaterialization) and not _is_empty(event)
        ]
        self._events.clear()
        self._lines += [event.description or "" for event in sorted(imported, key=lambda it: it.partition is not None)]

    def _record_change(self, outcome: FingerprintChanged) -> None:
        """Record that contacts are sent in another form from now on. Windows imported in the former one are missing then."""
        self._wipe(outcome.name)
        self._events.append(
            dg.AssetObservation(
                contacts_key(outcome.name),
                description="From here on contacts are sent for another list, target or record mapping",
                metadata=form_metadata(outcome),
            )
        )

    def _record_snapshot(self, outcome: SnapshotKnown) -> None:
        """Register a snapshot's windows, and say that it is the newest. The old one's windows are all missing then."""
        name, snapshot = outcome.name, outcome.snapshot
        known = self._known.get(name)
        if (known is None or known.id != snapshot.id) and name not in self._without_windows:
            self._wipe(name)
        self._without_windows.discard(name)
        self._snapshots[name] = snapshot
        if snapshot != known:
            self._events.append(
                dg.AssetObservation(
                    contacts_key(name), description="A snapshot was taken", metadata=snapshot_metadata(snapshot)
                )
            )
            self._known[name] = snapshot

    def _wipe(self, name: AudienceName) -> None:
        """Let none of the windows that were imported so far be imported."""
        key = windows_key(name)
        if any(event.asset_key == key for event in self._events):
            self._write()
        self._wiped.append(key)

    def _newest(self, name: AudienceName, observed: Stored) -> RecordedSnapshot | None:
        """Return the last record of the newest snapshot: mostly what was observed last."""
        return _recorded_snapshot(observed) or newest_snapshot(self._instance, name)

    def _is_completed(self, key: dg.AssetKey, told: RecordedSnapshot, last: Stored | None) -> bool:
        """Return whether an event written after the snapshot says that all of it is imported: mostly the last one."""
        if last is None or last.storage_id < told.storage_id:
            return False
        if completes(last.values, told.snapshot):
            return True
        since = takewhile(
            lambda event: event.storage_id > told.storage_id, materializations(self._instance, key, page=_FEW)
        )
        return any(completes(event.values, told.snapshot) for event in since)


def _is_empty(event: dg.AssetMaterialization) -> bool:
    read = event.metadata.get("contacts_read")
    return event.partition is not None and isinstance(read, dg.IntMetadataValue) and read.value == 0


def newest_snapshot(instance: dg.DagsterInstance, name: AudienceName) -> RecordedSnapshot | None:
    """Return the last record of the newest snapshot of an audience."""
    return next(_recorded_snapshots(instance, name), None)


def taken_at(instance: dg.DagsterInstance, name: AudienceName, snapshot: Snapshot) -> float:
    """Return when the snapshot was first recorded, in epoch seconds; infinite if it is not recorded."""
    at = math.inf
    for told in _recorded_snapshots(instance, name):
        if told.snapshot.id != snapshot.id:
            break
        at = told.written
    return at


def _recorded_snapshots(instance: dg.DagsterInstance, name: AudienceName) -> Iterator[RecordedSnapshot]:
    """Yield all records of snapshots of an audience, newest first."""
    for event in observations(instance, contacts_key(name), page=_FEW):
        if (told := _recorded_snapshot(event)) is not None:
            yield told


def _recorded_snapshot(event: Stored) -> RecordedSnapshot | None:
    snapshot = read_snapshot(event.values)
    if snapshot is None:
        return None
    return RecordedSnapshot(snapshot=snapshot, storage_id=event.storage_id, written=event.timestamp)
