"""The newest events of many assets and checks, from the rows in which Dagster keeps them.

Dagster builds all objects of such an event, which takes 0.5 ms, for two values of its metadata that we need: half of what
`importer status` takes, and a second of each hourly run over 1000 audiences. Here the row is read as JSON, and a value is
taken when it is asked for. Internal to Dagster, as `event_log.py`: a row that does not look as expected is left to
Dagster.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES,
)
from dagster._core.storage.event_log import AssetKeyTable, SqlEventLogStorage
from dagster._core.storage.event_log.migration import ASSET_KEY_INDEX_COLS
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
from dagster._serdes import unpack_value
from pydantic_core import from_json
from sqlalchemy import func, or_, select

from importer_pipeline.defs.stored import Evaluated, Stored

_HELD_BY = {
    "TextMetadataEntryData": "text",
    "IntMetadataEntryData": "value",
    "FloatMetadataEntryData": "value",
    "TimestampMetadataValue": "value",
    "JsonMetadataEntryData": "data",
}
"""Where a value stands in what is written of it, by its class."""

_COMPLETED = {status.value for status in COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES}


class RowValues(Mapping[str, object]):
    """The values of an event's metadata, of which each is taken when it is asked for.

    Args:
        written: as they stand in the row, by label.
    """

    def __init__(self, written: Mapping[str, Mapping[str, Any]]) -> None:
        self._written = written

    def __getitem__(self, name: str) -> object:
        written = self._written[name]
        held_by = _HELD_BY.get(written["__class__"])
        if held_by is not None:
            return written[held_by]
        value = unpack_value(dict(written))
        assert isinstance(value, dg.MetadataValue), "a value of metadata"
        return value.value

    def __contains__(self, name: object) -> bool:
        return name in self._written

    def __iter__(self) -> Iterator[str]:
        return iter(self._written)

    def __len__(self) -> int:
        return len(self._written)


def newest_rows(
    storage: SqlEventLogStorage, keys: Sequence[dg.AssetKey]
) -> tuple[Mapping[dg.AssetKey, Stored], Sequence[dg.AssetKey]]:
    """Return the newest materializations of assets, and the assets with a row of which only Dagster knows more.

    Assets without a row, of which nothing was ever written or everything wiped, are in neither.
    """
    if not storage.has_secondary_index(ASSET_KEY_INDEX_COLS):
        return {}, keys
    by_text = {key.to_string(): key for key in keys}
    table = AssetKeyTable.c
    query = (
        select(table.asset_key, table.last_materialization, table.asset_details)
        .where(table.asset_key.in_(list(by_text)))
        .where(or_(table.wipe_timestamp.is_(None), table.last_materialization_timestamp > table.wipe_timestamp))
    )
    found: dict[dg.AssetKey, Stored] = {}
    others: list[dg.AssetKey] = []
    with storage.index_connection() as connection:
        for text, written, details in connection.execute(query):
            row = _materialization(written, details)
            if row is None:
                others.append(by_text[text])
            else:
                found[by_text[text]] = row
    return found, others


def newest_evaluation_rows(
    storage: SqlEventLogStorage, keys: Sequence[dg.AssetCheckKey]
) -> tuple[Mapping[dg.AssetCheckKey, Evaluated], Sequence[dg.AssetCheckKey]]:
    """Return the newest evaluations of checks, and the checks with a row of which only Dagster knows more.

    Checks that nothing was ever written of are in neither.
    """
    by_text = {(key.asset_key.to_string(), key.name): key for key in keys}
    table = AssetCheckExecutionsTable.c
    newest = (
        select(func.max(table.id))
        .where(table.asset_key.in_([asset for asset, _ in by_text]))
        .where(table.check_name.in_({name for _, name in by_text}))
        .group_by(table.asset_key, table.check_name)
    )
    query = select(table.asset_key, table.check_name, table.execution_status, table.evaluation_event)
    found: dict[dg.AssetCheckKey, Evaluated] = {}
    others: list[dg.AssetCheckKey] = []
    with storage.index_connection() as connection:
        for asset, name, status, written in connection.execute(query.where(table.id.in_(newest))):
            if (key := by_text.get((asset, name))) is None:
                continue
            row = _evaluation(written) if status in _COMPLETED else None
            if row is None:
                others.append(key)
            else:
                found[key] = row
    return found, others


def _materialization(written: str | None, details: str | None) -> Stored | None:
    try:
        record = from_json(written or "{}")
        entry = record["event_log_entry"]
        materialization = entry["dagster_event"]["event_specific_data"]["materialization"]
        row = _stored(int(record["storage_id"]), entry, materialization)
        wiped_at = from_json(details)["last_wipe_timestamp"] if details else None
    except (KeyError, TypeError, ValueError):
        return None
    return row if wiped_at is None or row.timestamp > wiped_at else None


def read_observation(storage_id: int, written: str) -> Stored | None:
    """Return the observation in a row of an event; None if only Dagster can read it."""
    try:
        entry = from_json(written)
        observation = entry["dagster_event"]["event_specific_data"]["asset_observation"]
        return _stored(storage_id, entry, observation)
    except (KeyError, TypeError, ValueError):
        return None


def _stored(storage_id: int, entry: Mapping[str, Any], event: Mapping[str, Any]) -> Stored:
    return Stored(
        storage_id=storage_id,
        run_id=str(entry["run_id"]),
        timestamp=float(entry["timestamp"]),
        partition=event["partition"],
        values=RowValues({it["label"]: it["entry_data"] for it in event["metadata_entries"]}),
    )


def _evaluation(written: str | None) -> Evaluated | None:
    try:
        entry = from_json(written or "{}")
        metadata = entry["dagster_event"]["event_specific_data"]["metadata"]
        return Evaluated(timestamp=float(entry["timestamp"]), values=RowValues(dict(metadata)))
    except (KeyError, TypeError, ValueError):
        return None
