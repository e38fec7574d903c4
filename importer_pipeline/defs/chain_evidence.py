"""What the event log has of the audiences' chains: see `importer_pipeline.chain`.

As a rule the newest events of a chain tell all of it, and those of a thousand audiences are read at once. An audience is
looked through event by event only where something else was written last: an hour by itself, a report by hand, a snapshot that
is not in.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from itertools import islice

import dagster as dg

from importer_pipeline.chain import Evidence, HourBroughtIn, SnapshotIn, SnapshotTaken
from importer_pipeline.defs.event_log import (
    Stored,
    materializations,
    newest_materializations,
    observations,
)
from importer_pipeline.defs.event_metadata import (
    read_form,
    read_hour,
    read_snapshot,
    read_snapshot_in,
    snapshot_of_window,
)
from importer_pipeline.defs.names import CONTACTS, changes_key, contacts_key, windows_key
from importer_pipeline.snapshots import AudienceName

_PAGE = 200
"""Hours that are read at once."""

_MOST_EVENTS = 20
"""Events of `contacts` that are looked through for ours; others come from people."""

Found = tuple[int, Evidence]
"""The storage id of an event, and what it is evidence of."""


def read_evidence(instance: dg.DagsterInstance, names: Sequence[AudienceName]) -> Mapping[AudienceName, list[Evidence]]:
    """What stands in the log of each audience, the newest first, as far as it matters for the chain."""
    keys = [key for name in names for key in (contacts_key(name), changes_key(name), windows_key(name))]
    newest = newest_materializations(instance, keys)
    evidence: dict[AudienceName, list[Evidence]] = {}
    for name in names:
        found = _newest(name, newest)
        if found is None:
            found = list(_all(instance, name, newest))
        evidence[name] = [it for _, it in sorted(found, key=lambda one: one[0], reverse=True)]
    return evidence


def runs_of_last_hours(instance: dg.DagsterInstance, names: Sequence[AudienceName]) -> set[str]:
    """The runs that wrote the hours which `read_evidence` reads: of each audience, up to the newest that a chain has."""
    newest = newest_materializations(instance, [changes_key(name) for name in names])
    found: set[str] = set()
    for name in names:
        stored = newest.get(changes_key(name))
        hour = None if stored is None else read_hour(stored.partition, stored.metadata)
        if stored is not None and hour is not None and hour.chain_from is not None:
            found.add(stored.run_id)
        else:
            found.update(run_id for run_id, _ in _last_hours(instance, name))
    return found


def _last_hours(instance: dg.DagsterInstance, name: AudienceName) -> Iterator[tuple[str, Found]]:
    """The newest hours, up to the first that was added to a chain, and whose runs wrote them."""
    for stored in materializations(instance, changes_key(name), page=_PAGE):
        hour = read_hour(stored.partition, stored.metadata)
        if hour is not None:
            yield stored.run_id, (stored.storage_id, hour)
            if hour.chain_from is not None:
                break


def _newest(name: AudienceName, newest: Mapping[dg.AssetKey, Stored | None]) -> list[Found] | None:
    """The newest hour and the newest snapshot, or None where they do not tell all."""
    found: list[Found] = []
    snapshot: str | None = None
    for key in (changes_key(name), contacts_key(name)):
        stored = newest.get(key)
        if stored is None:
            continue
        evidence = _proof(key, stored)
        if evidence is None or (isinstance(evidence, HourBroughtIn) and evidence.chain_from is None):
            return None
        found.append((stored.storage_id, evidence))
        snapshot = evidence.snapshot if isinstance(evidence, SnapshotIn) else evidence.chain_from
    # Whoever takes a newer snapshot, or sends contacts in another form, wipes its windows.
    windows = newest.get(windows_key(name))
    is_newest = windows is not None and snapshot_of_window(windows.metadata) == snapshot
    return found if found and is_newest else None


def _all(instance: dg.DagsterInstance, name: AudienceName, known: Container[dg.AssetKey]) -> Iterator[Found]:
    """Everything up to the newest hour that was added to a chain, and the newest snapshots."""
    if changes_key(name) in known:
        yield from (found for _, found in _last_hours(instance, name))
    if contacts_key(name) in known:
        for stored in islice(materializations(instance, contacts_key(name), page=_MOST_EVENTS), _MOST_EVENTS):
            if (snapshot_in := read_snapshot_in(stored.metadata)) is not None:
                yield stored.storage_id, snapshot_in
        for stored in observations(instance, contacts_key(name), most=_MOST_EVENTS):
            if (snapshot := read_snapshot(stored.metadata)) is not None:
                yield stored.storage_id, SnapshotTaken(fingerprint=snapshot.fingerprint)
            elif (changed := read_form(stored.metadata)) is not None:
                yield stored.storage_id, changed
            elif (snapshot_in := read_snapshot_in(stored.metadata)) is not None:
                yield stored.storage_id, snapshot_in


def _proof(key: dg.AssetKey, stored: Stored) -> SnapshotIn | HourBroughtIn | None:
    if key.path[-1] == CONTACTS:
        return read_snapshot_in(stored.metadata)
    return read_hour(stored.partition, stored.metadata)
