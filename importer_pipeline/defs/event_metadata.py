"""The metadata of our events, written and read: numbers that Dagster can plot, words for people, and what a later run needs.

Units stand in the names. No key, address or name is ever among them.
"""

from collections.abc import Mapping
from typing import Annotated

import dagster as dg
from pydantic import BaseModel, BeforeValidator, TypeAdapter, ValidationError

from importer_pipeline.defs.stored import Values
from importer_pipeline.engine.outcomes import AudienceDone, FingerprintChanged, HourImported, WindowImported
from importer_pipeline.listing.coverage import TimeRange, timestamp
from importer_pipeline.listing.hours import parse_hour_key
from importer_pipeline.listing.snapshots import SNAPSHOT_FORMAT, ImportedWindow, Snapshot
from importer_pipeline.planning.chain import FormChanged, HourCompleted, SnapshotCompleted

Metadata = Mapping[str, dg.MetadataValue]

_SNAPSHOT = TypeAdapter(Snapshot)


def _stretches(text: object) -> tuple[TimeRange, ...]:
    pairs = (pair.split("-") for pair in str(text).split())
    return tuple(TimeRange(int(first), int(last)) for first, last in pairs)


class _StoredWindow(BaseModel):
    """A window as it stands in an event."""

    snapshot: str
    covered: Annotated[tuple[TimeRange, ...], BeforeValidator(_stretches)]
    contacts_read: int
    contacts_accepted: int
    contacts_refused: int
    requests: int


class _StoredContacts(BaseModel):
    """An imported snapshot, as it is stored in an event."""

    snapshot: str
    fingerprint: str
    changed_until: float


class _StoredHour(BaseModel):
    """An hour as it stands in an event."""

    fingerprint: str
    chain_from: str


_BY_ITSELF = "brought in by itself"

_FORM_CHANGED = "form_changed_to"


def snapshot_metadata(snapshot: Snapshot) -> Metadata:
    """Of the observation that says that a snapshot has been taken."""
    archived = snapshot.archived_total
    return {
        "contacts": dg.MetadataValue.int(snapshot.total),
        "archived_contacts": dg.MetadataValue.text("not known yet")
        if archived is None
        else dg.MetadataValue.int(archived),
        "windows": dg.MetadataValue.int(len(snapshot.keys)),
        "changed_until": dg.MetadataValue.timestamp(float(snapshot.before)),
        "snapshot": dg.MetadataValue.json({"format": SNAPSHOT_FORMAT, **_SNAPSHOT.dump_python(snapshot)}),
    }


def read_snapshot(values: Values) -> Snapshot | None:
    """The snapshot that an observation tells of; None if it is not of ours, or of another format."""
    stored = values.get("snapshot")
    if not isinstance(stored, dict) or stored.get("format") != SNAPSHOT_FORMAT:
        return None
    try:
        return _SNAPSHOT.validate_python(stored)
    except ValidationError:
        return None


def form_metadata(outcome: FingerprintChanged) -> Metadata:
    """Of the observation that says that contacts are sent for another fingerprint from now on."""
    return {_FORM_CHANGED: dg.MetadataValue.text(outcome.fingerprint)}


def read_form(values: Values) -> FormChanged | None:
    """Return the snapshot that an observation records; None if it records none."""
    fingerprint = values.get(_FORM_CHANGED)
    return None if fingerprint is None else FormChanged(fingerprint=str(fingerprint))


def window_metadata(outcome: WindowImported) -> Metadata:
    """Of the materialization of a window."""
    imported = outcome.imported
    return {
        "changed": dg.MetadataValue.text(covered_in_words(imported.covered)),
        "contacts_read": dg.MetadataValue.int(imported.read),
        "contacts_accepted": dg.MetadataValue.int(imported.accepted),
        "contacts_refused": dg.MetadataValue.int(imported.refused),
        "requests": dg.MetadataValue.int(imported.requests),
        "seconds": dg.MetadataValue.float(round(outcome.elapsed_seconds, 3)),
        "snapshot": dg.MetadataValue.text(outcome.snapshot_id),
        # As text: Dagster shows JSON with a line for each bracket.
        "covered": dg.MetadataValue.text(" ".join(f"{it.first}-{it.last}" for it in imported.covered)),
    }


def snapshot_of_window(values: Values) -> str | None:
    """Id of the snapshot that a materialized window is of; None if it is not of ours."""
    snapshot = values.get("snapshot")
    return snapshot if isinstance(snapshot, str) else None


def read_window(values: Values, snapshot: Snapshot) -> ImportedWindow | None:
    """The window that a materialization tells of; None if it is not of this snapshot."""
    try:
        stored = _StoredWindow.model_validate(_of_model(values, _StoredWindow))
    except ValidationError:
        return None
    if stored.snapshot != snapshot.id:
        return None
    return ImportedWindow(
        covered=stored.covered,
        read=stored.contacts_read,
        accepted=stored.contacts_accepted,
        refused=stored.contacts_refused,
        requests=stored.requests,
    )


def contacts_metadata(done: AudienceDone, snapshot: Snapshot) -> Metadata:
    """Return the metadata of the materialization that says that all of a snapshot is imported."""
    archived = snapshot.archived_total or 0
    return {
        "dagster/row_count": dg.MetadataValue.int(snapshot.total + archived),
        "contacts_read": dg.MetadataValue.int(done.totals.read),
        "contacts_read_again": dg.MetadataValue.int(done.totals.read_again),
        "contacts_accepted": dg.MetadataValue.int(done.totals.accepted),
        "contacts_refused": dg.MetadataValue.int(done.totals.refused),
        "archived_contacts": dg.MetadataValue.int(archived),
        "windows": dg.MetadataValue.int(done.parts.total),
        "requests": dg.MetadataValue.int(done.totals.requests),
        "seconds": dg.MetadataValue.float(round(done.run.elapsed_seconds, 3)),
        "contacts_per_second": dg.MetadataValue.float(round(done.run.accepted_per_second, 1)),
        "changed_until": dg.MetadataValue.timestamp(float(snapshot.before)),
        "paths_that_no_contact_has": dg.MetadataValue.text(", ".join(done.lacking) or "none"),
        "snapshot": dg.MetadataValue.text(snapshot.id),
        "fingerprint": dg.MetadataValue.text(snapshot.fingerprint),
    }


def read_snapshot_completed(values: Values, *, written: float) -> SnapshotCompleted | None:
    """Return the evidence of an event of `contacts` that was written then; None if it is not ours."""
    try:
        stored = _StoredContacts.model_validate(_of_model(values, _StoredContacts))
    except ValidationError:
        return None
    return SnapshotCompleted(
        fingerprint=stored.fingerprint, snapshot=stored.snapshot, before=int(stored.changed_until), written=written
    )


def hour_metadata(outcome: HourImported) -> Metadata:
    """Of the materialization of an hour."""
    lag = {} if outcome.lag_seconds is None else {"lag_seconds": dg.MetadataValue.int(outcome.lag_seconds)}
    return {
        "dagster/partition_row_count": dg.MetadataValue.int(outcome.read),
        "contacts_read": dg.MetadataValue.int(outcome.read),
        "contacts_accepted": dg.MetadataValue.int(outcome.accepted),
        "contacts_refused": dg.MetadataValue.int(outcome.refused),
        **lag,
        "changed_since": dg.MetadataValue.timestamp(float(outcome.walk.first)),
        "changed_until": dg.MetadataValue.timestamp(float(outcome.walk.last)),
        "chain_from": dg.MetadataValue.text(outcome.chain_from or _BY_ITSELF),
        "fingerprint": dg.MetadataValue.text(outcome.fingerprint),
    }


def read_hour(partition: str | None, values: Values, *, written: float) -> HourCompleted | None:
    """Return the evidence of a materialization of `contact_changes` that was written then; None if it is not ours."""
    hour = parse_hour_key(partition or "")
    try:
        stored = _StoredHour.model_validate(_of_model(values, _StoredHour))
    except ValidationError:
        return None
    if hour is None:
        return None
    chain_from = None if stored.chain_from == _BY_ITSELF else stored.chain_from
    return HourCompleted(fingerprint=stored.fingerprint, hour=hour, chain_from=chain_from, written=written)


def completes(values: Values, snapshot: Snapshot) -> bool:
    """Return whether a materialization of `contacts` says that this snapshot is imported."""
    return values.get("snapshot") == snapshot.id


def covered_in_words(covered: tuple[TimeRange, ...]) -> str:
    """Seconds of `last_changed` that are proved, for people."""
    if not covered:
        return "nothing: its contacts had changed, and were read with the windows below"
    return "; ".join(f"{moment_in_words(stretch.first)} to {moment_in_words(stretch.last)}" for stretch in covered)


def _of_model(values: Values, model: type[BaseModel]) -> dict[str, object]:
    """Return the values of a model's fields."""
    return {name: values[name] for name in model.model_fields if name in values}


def moment_in_words(second: int) -> str:
    """Return a second for people, in UTC."""
    return "the beginning" if second <= 0 else timestamp(second).replace("T", " ").replace("+00:00", " UTC")
