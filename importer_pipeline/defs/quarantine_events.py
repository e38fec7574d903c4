"""The quarantine in Dagster's event log: each entry is a partition of one asset; its newest materialization says all of it."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

import dagster as dg
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus
from pydantic import BaseModel, TypeAdapter, ValidationError

from importer_pipeline.defs.event_log import materializations, materializations_of_partitions
from importer_pipeline.defs.names import QUARANTINE_KEY, QUARANTINE_PARTITIONS
from importer_pipeline.defs.quarantine_colour import runs_of_colour, turn_red
from importer_pipeline.defs.stored import Stored, Values
from importer_pipeline.engine.outcomes import Part, PartitionRef
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.planning.quarantine import Entry, Failure, Quarantine
from importer_pipeline.redaction import shown

_FORMAT = 1
_ENTRY = "entry"
"""What all of an entry is called in the metadata of an event."""

_PAGE = 100
"""Events of a partition that are read at once."""

_MAX_ROWS = 100
"""Rows of a table that Dagster is given to show."""

_ALL_OF_IT = "(all of it)"
_NO_ID = "(no id)"
_UNKNOWN = "unknown"
"""A snapshot that is not the newest: all of the newest has to be imported."""

_PARTITIONS = str(QUARANTINE_PARTITIONS.name)

LogEvent = Callable[[dg.AssetMaterialization], None]


class _StoredEntry(BaseModel):
    """An entry as it stands in an event."""

    format: int
    fingerprint: str
    failures: dict[str, Failure]
    contacts: dict[str, Failure]


_STORED = TypeAdapter(_StoredEntry)


def open_partitions(instance: dg.DagsterInstance) -> list[PartitionRef]:
    """Return all entries of the quarantine, by window or hour."""
    keys = instance.get_dynamic_partitions(_PARTITIONS)
    return [ref for key in keys if (ref := parse_partition(key)) is not None]


def parse_partition(key: str) -> PartitionRef | None:
    """The window or hour that a partition of the quarantine stands for; None if it is none of ours."""
    parts = key.split("/")
    if len(parts) != 4 or parts[2] not in {Part.WINDOW.value, Part.HOUR.value}:
        return None
    return PartitionRef(name=AudienceName(parts[0], parts[1]), part=Part(parts[2]), key=parts[3])


def read_entries(instance: dg.DagsterInstance, names: Iterable[AudienceName] | None = None) -> list[Entry]:
    """Return the entries of the quarantine.

    Args:
        instance: where.
        names: of these audiences; None for all.
    """
    wanted = None if names is None else set(names)
    refs = {str(ref): ref for ref in open_partitions(instance) if wanted is None or ref.name in wanted}
    newest = _newest_of_ours(instance, list(refs))
    entries = [_read(ref, newest[key].values) if key in newest else _unreadable(ref) for key, ref in refs.items()]
    return [entry for entry in entries if entry.failures or entry.contacts]


def _newest_of_ours(instance: dg.DagsterInstance, keys: Sequence[str]) -> Mapping[str, Stored]:
    """The newest event of each of some partitions that says what the entry is, whatever people have reported since."""
    newest = dict(materializations_of_partitions(instance, QUARANTINE_KEY, keys))
    for key in [key for key, stored in newest.items() if _ENTRY not in stored.values]:
        events = materializations(instance, QUARANTINE_KEY, page=_PAGE, partition=key)
        ours = next((event for event in events if _ENTRY in event.values), None)
        if ours is None:
            del newest[key]
        else:
            newest[key] = ours
    return newest


def write_entries(
    instance: dg.DagsterInstance,
    log_event: LogEvent,
    quarantine: Quarantine,
    changed: Sequence[PartitionRef],
    *,
    run: dg.DagsterRun,
) -> None:
    """Write down entries that were opened or changed, and let those go that were closed.

    Args:
        instance: where.
        log_event: writes an event, of a step or of none.
        quarantine: the entries as they are now.
        changed: the windows and hours whose entries were opened, changed or closed.
        run: the run that did not import them.
    """
    for ref in changed:
        entry = quarantine.entries.get(ref)
        if entry is None:
            _close(instance, log_event, ref, "All of it is imported")
            continue
        # First the event: a partition without one would say that something is there, and not what.
        log_event(_entry_event(entry))
        turn_red(instance, str(ref), run)
        instance.add_dynamic_partitions(_PARTITIONS, [str(ref)])


def forget(instance: dg.DagsterInstance, log_event: LogEvent, refs: Iterable[PartitionRef]) -> None:
    """Drop entries, whatever is not in of them, and say so: no one finds them again in the runs that failed."""
    for ref in refs:
        _close(instance, log_event, ref, "Dropped, though not in: somebody said so")


def drop_closed(instance: dg.DagsterInstance) -> None:
    """Let the partitions go whose entries were closed while a backfill held them, once none does."""
    refs = open_partitions(instance)
    if not refs or _is_held(instance):
        return
    still = {entry.ref for entry in read_entries(instance, {ref.name for ref in refs})}
    for ref in refs:
        if ref not in still:
            instance.delete_dynamic_partition(_PARTITIONS, str(ref))


def last_recorded(instance: dg.DagsterInstance, refs: Sequence[PartitionRef]) -> Mapping[PartitionRef, float]:
    """Return when each window or hour last entered or left the quarantine, in epoch seconds."""
    newest = materializations_of_partitions(instance, QUARANTINE_KEY, [str(ref) for ref in refs])
    return {ref: newest[str(ref)].timestamp for ref in refs if str(ref) in newest}


def runs_of_entries(instance: dg.DagsterInstance) -> set[str]:
    """Return the runs that wrote the entries of the quarantine, and those that their partitions are red for."""
    refs = [str(ref) for ref in open_partitions(instance)]
    colours = {run_id for ref in refs for run_id in runs_of_colour(instance, ref)}
    return {it.run_id for it in _newest_of_ours(instance, refs).values()} | colours


def _close(instance: dg.DagsterInstance, log_event: LogEvent, ref: PartitionRef, why: str) -> None:
    """Say that nothing of an entry is left, and let its partition go, unless a backfill may hold that.

    Dagster fails a backfill one of whose partitions has gone, and cancels the rest of it, though that one has succeeded.
    """
    log_event(_event(Entry(ref=ref, fingerprint="", failures={}), why, {}))
    if not _is_held(instance):
        instance.delete_dynamic_partition(_PARTITIONS, str(ref))


def _is_held(instance: dg.DagsterInstance) -> bool:
    """Return whether a backfill of the quarantine is in progress."""
    backfills = instance.get_backfills(BulkActionsFilter(statuses=[BulkActionStatus.REQUESTED]))
    return any(QUARANTINE_KEY in (it.asset_selection or ()) for it in backfills)


def _entry_event(entry: Entry) -> dg.AssetMaterialization:
    """The event that says all of an entry."""
    troubles = [*entry.failures.values(), *entry.contacts.values()]
    return _event(
        entry,
        _in_words(entry),
        {
            "reason": dg.MetadataValue.text(troubles[0].reason),
            "contacts": dg.MetadataValue.int(len(entry.contacts)),
            "attempts": dg.MetadataValue.int(max(trouble.attempts for trouble in troubles)),
            "first_seen": dg.MetadataValue.timestamp(float(min(trouble.first_seen for trouble in troubles))),
            "last_seen": dg.MetadataValue.timestamp(float(max(trouble.last_seen for trouble in troubles))),
            "table": _table(entry),
        },
    )


def _event(entry: Entry, description: str, details: Mapping[str, dg.MetadataValue]) -> dg.AssetMaterialization:
    """The event that a later run reads an entry from; one without troubles is closed."""
    # As text: Dagster shows JSON with a line for each bracket.
    stored = json.dumps(
        {
            "format": _FORMAT,
            "fingerprint": entry.fingerprint,
            "failures": {key: asdict(trouble) for key, trouble in entry.failures.items()},
            "contacts": {key: asdict(trouble) for key, trouble in entry.contacts.items()},
        },
        separators=(",", ":"),
    )
    return dg.AssetMaterialization(
        QUARANTINE_KEY,
        description=description,
        partition=str(entry.ref),
        metadata={**details, _ENTRY: dg.MetadataValue.text(stored)},
    )


def _read(ref: PartitionRef, values: Values) -> Entry:
    """The entry that an event tells of; of one that can't be read, only that it is there."""
    try:
        stored = _STORED.validate_json(str(values.get(_ENTRY, "")))
    except ValidationError:
        stored = None
    if stored is None or stored.format != _FORMAT:
        return _unreadable(ref)
    return Entry(ref=ref, fingerprint=stored.fingerprint, failures=stored.failures, contacts=stored.contacts)


def _unreadable(ref: PartitionRef) -> Entry:
    """That something of it is not in, and nothing more: its events were wiped, or are of another version."""
    reason = "what was known of it is gone from the event log: materialize this partition to import all of it again"
    trouble = Failure(reason=reason, snapshot=_UNKNOWN, attempts=1, first_seen=0, last_seen=0)
    key = _UNKNOWN if ref.part is Part.WINDOW else ""
    return Entry(ref=ref, fingerprint="", failures={key: trouble})


def _in_words(entry: Entry) -> str:
    contacts = len(entry.contacts)
    if entry.failures:
        return f"{entry.ref} could not be imported"
    return f"{contacts} contact{'' if contacts == 1 else 's'} of {entry.ref} could not be imported"


def _table(entry: Entry) -> dg.TableMetadataValue:
    # Here, because it takes a third of a second that runs without trouble need not wait for.
    import pandas as pd

    table = pd.DataFrame(list(_rows(entry)))
    shown = table.head(_MAX_ROWS)
    columns = [dg.TableColumn(str(name), "int" if name == "attempts" else "string") for name in table.columns]
    return dg.MetadataValue.table(
        records=[dg.TableRecord({str(key): value for key, value in row.items()}) for row in shown.to_dict("records")],
        schema=dg.TableSchema(columns=columns),
    )


def _rows(entry: Entry) -> Iterator[dict[str, str | int]]:
    named = [*((_ALL_OF_IT, it) for it in entry.failures.values()), *entry.contacts.items()]
    for contact_id, trouble in named:
        yield {
            "contact_id": shown(contact_id) or _NO_ID,
            "reason": trouble.reason,
            "attempts": trouble.attempts,
            "first_seen": datetime.fromtimestamp(trouble.first_seen, UTC).isoformat(),
            "last_seen": datetime.fromtimestamp(trouble.last_seen, UTC).isoformat(),
        }
