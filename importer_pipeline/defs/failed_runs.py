"""Puts into the quarantine what failed runs did not import, however they were launched.

A step quarantines what fails in it. A step that was killed can't, nor one whose account could not be read at all: what
these were to import is known from the events of their runs.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import dagster as dg

from importer_pipeline.clients.collection import Clients
from importer_pipeline.defs.chain_evidence import fingerprints
from importer_pipeline.defs.event_log import materializations_of_partitions
from importer_pipeline.defs.history import newest_snapshot, taken_at
from importer_pipeline.defs.locking import free_accounts
from importer_pipeline.defs.names import CONTACT_CHANGES, CONTACT_WINDOWS
from importer_pipeline.defs.quarantine_events import drop_closed, last_recorded, read_entries, write_entries
from importer_pipeline.engine.outcomes import Part, PartitionRef
from importer_pipeline.listing.hours import SETTLED_SECONDS, parse_hour_key
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.planning.quarantine import Entry, Failure, Quarantine
from importer_pipeline.runner.importing import account_identity

_WILL_RETRY_TAG = "dagster/will_retry"

_LOOK_BACK = timedelta(days=7)

RECENTLY = timedelta(days=1)
"""How far back each hourly run looks: the sensor never sees an event that is committed after a later one."""
_MAX_RUNS = 500

_PARTS = {CONTACT_WINDOWS: Part.WINDOW, CONTACT_CHANGES: Part.HOUR}


Planned = Mapping[PartitionRef, tuple[dg.AssetKey, float]]
"""Planned partitions, with their asset and the time of planning."""


class Audiences:
    """The declared audiences: their partitions, fingerprints and accounts."""

    def __init__(self, clients: Clients) -> None:
        self._fingerprints = fingerprints(clients.select([], []))
        self._accounts = {
            AudienceName(client.name, audience.name): account_identity(client)
            for client, audience in clients.select([], [])
        }

    def ref(self, key: dg.AssetKey, partition: str) -> PartitionRef | None:
        """Return the window or hour of a partition; None if it is none of a declared audience."""
        if len(key.path) != 3 or key.path[2] not in _PARTS:
            return None
        name = AudienceName(key.path[0], key.path[1])
        return PartitionRef(name=name, part=_PARTS[key.path[2]], key=partition) if name in self._fingerprints else None

    def fingerprint(self, name: AudienceName) -> str:
        """Return the audience's fingerprint as declared now."""
        return self._fingerprints[name]

    def account(self, name: AudienceName) -> str | None:
        """Return the name of the lock of an audience's account; None if the audience is not declared."""
        return self._accounts.get(name)


def quarantine_recent_failures(
    instance: dg.DagsterInstance, clients: Clients, *, look_back: timedelta = _LOOK_BACK
) -> list[PartitionRef]:
    """Quarantine what the runs that failed in this time did not import; doing it again changes nothing."""
    drop_closed(instance)
    since = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=datetime.now(UTC) - look_back)
    audiences = Audiences(clients)
    return [
        ref
        for run in instance.get_runs(since, limit=_MAX_RUNS)
        for ref in quarantine_failures_of(instance, run, audiences)
    ]


def quarantine_failures_of(
    instance: dg.DagsterInstance, run: dg.DagsterRun, audiences: Audiences
) -> list[PartitionRef]:
    """Quarantine what a failed run was to import and did not.

    Left out is what was imported or quarantined since, and what Dagster will retry. So is an account that another sync
    has, since it may be writing the same entries: the next run finds the rest.

    Returns:
        what was quarantined.

    Raises:
        LocksUnusable: there can be no locks of accounts.
    """
    if run.tags.get(_WILL_RETRY_TAG) == "true":
        return []
    planned = _failed(instance, run, audiences)
    record = instance.get_run_record_by_id(run.run_id) if planned else None
    began = time.time() if record is None or record.start_time is None else record.start_time
    ended = time.time() if record is None or record.end_time is None else record.end_time
    # Nearly all has been looked at before, and needs no lock.
    planned = _unaccounted(instance, planned, began)
    if not planned:
        return []
    with free_accounts(instance, {account for ref in planned if (account := audiences.account(ref.name))}) as free:
        ours = {ref: event for ref, event in planned.items() if audiences.account(ref.name) in free}
        quarantine = Quarantine(read_entries(instance, {ref.name for ref in ours}), began=began)
        found: list[PartitionRef] = []
        for ref, (_, at) in _unaccounted(instance, ours, began).items():
            entry = _entry(instance, ref, run, audiences, at, ended)
            if entry is not None:
                before = quarantine.entries.get(ref, entry)
                quarantine.entries[ref] = replace(before, failures=before.failures | entry.failures)
                found.append(ref)
        write_entries(instance, instance.report_runless_asset_event, quarantine, found, run=run)
    return found


def _unaccounted(instance: dg.DagsterInstance, planned: Planned, began: float) -> Planned:
    """Return what was neither imported nor quarantined since: the run itself reports that better."""
    known = last_recorded(instance, list(planned)) if planned else {}
    return {
        ref: (key, at)
        for ref, (key, at) in planned.items()
        if known.get(ref, 0.0) < min(began, at) and not _is_in_since(instance, key, ref, at)
    }


def _failed(instance: dg.DagsterInstance, run: dg.DagsterRun, audiences: Audiences) -> Planned:
    """Return the partitions that the run was planned to import and did not."""
    found: dict[PartitionRef, tuple[dg.AssetKey, float]] = {}
    for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED):
        event = entry.get_dagster_event()
        ref = _ref_of(event, audiences)
        if ref is not None and event.asset_key is not None:
            found[ref] = (event.asset_key, entry.timestamp)
    for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION):
        ref = _ref_of(entry.get_dagster_event(), audiences)
        if ref is not None:
            found.pop(ref, None)
    return found


def _ref_of(event: dg.DagsterEvent, audiences: Audiences) -> PartitionRef | None:
    if event.asset_key is None or event.partition is None:
        return None
    return audiences.ref(event.asset_key, event.partition)


def _is_in_since(instance: dg.DagsterInstance, key: dg.AssetKey, ref: PartitionRef, at: float) -> bool:
    newest = materializations_of_partitions(instance, key, [ref.key]).get(ref.key)
    return newest is not None and newest.timestamp >= at


def _entry(
    instance: dg.DagsterInstance,
    ref: PartitionRef,
    run: dg.DagsterRun,
    audiences: Audiences,
    at: float,
    ended: float,
) -> Entry | None:
    """Return the entry of a partition; None if its snapshot is not the newest, or its hour was not over."""
    is_now, snapshot_id = audiences.fingerprint(ref.name), ""
    if ref.part is Part.WINDOW:
        newest = newest_snapshot(instance, ref.name)
        if newest is None:
            return None
        snapshot = newest.snapshot
        if snapshot.fingerprint != is_now or ref.key not in snapshot.keys:
            return None
        # Planned before the snapshot was taken: it belongs to an older one, and the newest covers it.
        if at < taken_at(instance, ref.name, snapshot):
            return None
        snapshot_id = snapshot.id
    else:
        hour = parse_hour_key(ref.key)
        if hour is None or ended <= hour.last + SETTLED_SECONDS:
            return None
    trouble = Failure(
        reason=_reason(instance, run, ref.name),
        snapshot=snapshot_id,
        attempts=1,
        first_seen=int(at),
        last_seen=int(at),
    )
    return Entry(ref=ref, fingerprint=is_now, failures={snapshot_id: trouble})


def _reason(instance: dg.DagsterInstance, run: dg.DagsterRun, name: AudienceName) -> str:
    """Return what the run reports of the audience, or that it reports nothing."""
    for line in _lines(instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)):
        if line.startswith((f"- {name} ", f"- {name}:")):
            return line.removeprefix("- ")
    return f"run {run.run_id} ended before it was imported: materialize this partition to retry it"


def _lines(failures: Iterable[dg.EventLogEntry]) -> Iterable[str]:
    for entry in failures:
        data = entry.get_dagster_event().step_failure_data.user_failure_data
        if data is not None and data.description is not None:
            yield from data.description.splitlines()
