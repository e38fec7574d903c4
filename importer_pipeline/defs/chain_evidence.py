"""What the event log has of the audiences' chains: see `importer_pipeline.planning.chain`.

As a rule the newest events of a chain tell all of it, and those of a thousand audiences are read at once. An audience is
looked through event by event only where something else was written last: an hour by itself, a report by hand, a snapshot that
is not in. It is looked until what counts is found, whatever else was written since.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

import dagster as dg

from importer_pipeline.clients.client import Audience, Client, fingerprint
from importer_pipeline.defs.event_log import materializations, newest_materializations, observations
from importer_pipeline.defs.event_metadata import (
    read_form,
    read_hour,
    read_snapshot,
    read_snapshot_completed,
    snapshot_of_window,
)
from importer_pipeline.defs.names import CONTACTS, changes_key, contacts_key, windows_key
from importer_pipeline.defs.stored import Stored
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.planning.chain import Evidence, HourCompleted, SnapshotCompleted, SnapshotTaken, View

_PAGE = 200
"""Events that are read at once."""

Found = tuple[int, Evidence]
"""The storage id of an event, and what it is evidence of."""


def fingerprints(audiences: Iterable[tuple[Client, Audience]]) -> dict[AudienceName, str]:
    """Return the fingerprints of audiences as declared now: evidence with another one does not count."""
    return {AudienceName(client.name, audience.name): fingerprint(client, audience) for client, audience in audiences}


def read_evidence(
    instance: dg.DagsterInstance, names: Sequence[AudienceName], view: View
) -> Mapping[AudienceName, list[Evidence]]:
    """Return what stands in the log of each audience, the newest first, as far as it matters for the chain in that view."""
    keys = [key for name in names for key in (contacts_key(name), changes_key(name), windows_key(name))]
    newest = newest_materializations(instance, keys)
    evidence: dict[AudienceName, list[Evidence]] = {}
    for name in names:
        found = _newest(name, newest, view)
        if found is None:
            found = list(_all(instance, name, newest, view))
        evidence[name] = [it for _, it in sorted(found, key=lambda one: one[0], reverse=True)]
    return evidence


def runs_of_last_hours(instance: dg.DagsterInstance, names: Sequence[AudienceName], view: View) -> set[str]:
    """Return the runs whose hours `read_evidence` reads: of each audience, up to the newest that a chain has."""
    newest = newest_materializations(instance, [changes_key(name) for name in names])
    found: set[str] = set()
    for name in names:
        stored = newest.get(changes_key(name))
        if stored is not None and _is_link(_proof(changes_key(name), stored), view):
            found.add(stored.run_id)
        else:
            found.update(run_id for run_id, _ in _last_hours(instance, name, view))
    return found


def _last_hours(instance: dg.DagsterInstance, name: AudienceName, view: View) -> Iterator[tuple[str, Found]]:
    """The newest hours, up to the first that was added to a chain, and whose runs wrote them."""
    for stored in materializations(instance, changes_key(name), page=_PAGE):
        hour = read_hour(stored.partition, stored.values, written=stored.timestamp)
        if hour is not None:
            yield stored.run_id, (stored.storage_id, hour)
            if _is_link(hour, view):
                break


def _is_link(evidence: Evidence | None, view: View) -> bool:
    """Return whether it is an hour that was added to a chain, and counts."""
    return isinstance(evidence, HourCompleted) and evidence.chain_from is not None and view.believes(evidence)


def _newest(name: AudienceName, newest: Mapping[dg.AssetKey, Stored | None], view: View) -> list[Found] | None:
    """The newest hour and the newest snapshot, or None where they do not tell all."""
    found: list[Found] = []
    snapshot: str | None = None
    for key in (changes_key(name), contacts_key(name)):
        stored = newest.get(key)
        if stored is None:
            continue
        evidence = _proof(key, stored)
        if evidence is None or not view.believes(evidence):
            return None
        if isinstance(evidence, HourCompleted) and evidence.chain_from is None:
            return None
        found.append((stored.storage_id, evidence))
        snapshot = evidence.snapshot if isinstance(evidence, SnapshotCompleted) else evidence.chain_from
    # Whoever takes a newer snapshot, or sends contacts in another form, wipes its windows.
    windows = newest.get(windows_key(name))
    is_newest = windows is not None and snapshot_of_window(windows.values) == snapshot
    return found if found and is_newest else None


def _all(
    instance: dg.DagsterInstance, name: AudienceName, known: Container[dg.AssetKey], view: View
) -> Iterator[Found]:
    """Return all evidence since the newest hour that was added to a chain, or else since the newest imported snapshot."""
    stop = -1
    if changes_key(name) in known:
        for _, (storage_id, hour) in _last_hours(instance, name, view):
            yield storage_id, hour
            if _is_link(hour, view):
                stop = storage_id
    if contacts_key(name) in known:
        for stored in materializations(instance, contacts_key(name), page=_PAGE):
            if stored.storage_id < stop:
                break
            snapshot_in = read_snapshot_completed(stored.values, written=stored.timestamp)
            if snapshot_in is not None:
                yield stored.storage_id, snapshot_in
                if view.believes(snapshot_in):
                    stop = stored.storage_id if stop < 0 else stop
                    break
        for stored in observations(instance, contacts_key(name), page=_PAGE):
            if stored.storage_id < stop:
                break
            if (evidence := _observed(stored)) is not None:
                yield stored.storage_id, evidence
                if stop < 0 and isinstance(evidence, SnapshotCompleted) and view.believes(evidence):
                    break


def _observed(stored: Stored) -> Evidence | None:
    """Return the evidence in an observation of `contacts`."""
    if (snapshot := read_snapshot(stored.values)) is not None:
        return SnapshotTaken(fingerprint=snapshot.fingerprint)
    return read_form(stored.values) or read_snapshot_completed(stored.values, written=stored.timestamp)


def _proof(key: dg.AssetKey, stored: Stored) -> SnapshotCompleted | HourCompleted | None:
    if key.path[-1] == CONTACTS:
        return read_snapshot_completed(stored.values, written=stored.timestamp)
    return read_hour(stored.partition, stored.values, written=stored.timestamp)
