"""Reads Dagster's event log beyond its public interface. Internal to Dagster, like `event_writing`."""

# pyright: reportPrivateUsage=false

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import dagster as dg
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES,
)
from dagster._core.storage.event_log import (
    AssetKeyTable,
    SqlEventLogStorage,
    SqlEventLogStorageTable,
    SqliteEventLogStorage,
)
from dagster._serdes import deserialize_value
from sqlalchemy import func, or_, select
from sqlalchemy.exc import DBAPIError

from importer_pipeline.defs.asset_rows import newest_evaluation_rows, newest_rows, read_observation
from importer_pipeline.defs.batches import VALUES_AT_ONCE, batches
from importer_pipeline.defs.stored import Evaluated, Stored, values_of

_NOT_WIPED = or_(
    AssetKeyTable.c.wipe_timestamp.is_(None), SqlEventLogStorageTable.c.timestamp > AssetKeyTable.c.wipe_timestamp
)
"""Postgres keeps the events of a wiped asset, and only ignores them."""

_PARTITIONS_AT_ONCE = 500
"""Partitions that are looked up in one statement."""


def newest_evaluations(
    instance: dg.DagsterInstance, keys: Sequence[dg.AssetCheckKey]
) -> Mapping[dg.AssetCheckKey, Evaluated]:
    """Return the newest evaluation of each of some checks that has one."""
    newest: dict[dg.AssetCheckKey, Evaluated] = {}
    storage = instance.event_log_storage
    for some in batches(keys, VALUES_AT_ONCE):
        others = some
        if isinstance(storage, SqlEventLogStorage):
            rows, others = newest_evaluation_rows(storage, some)
            newest.update(rows)
        found = storage.get_latest_asset_check_execution_by_key(others) if others else {}
        for key, record in found.items():
            if record.status not in COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES:
                # Planned by a run that has not come to it, or has failed before.
                history = storage.get_asset_check_execution_history(
                    key, limit=1, status=COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES
                )
                record = next(iter(history), None)
            if record is not None and record.evaluation is not None and record.event is not None:
                newest[key] = Evaluated(record.event.timestamp, values_of(record.evaluation.metadata))
    return newest


def make_pool_known(instance: dg.DagsterInstance, pool: str) -> None:
    """Write down a pool that Dagster does not know yet, with its default limit.

    Dagster does so itself when the first step of the pool comes, but where two come at once it fails one of the runs.
    """
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits or pool in storage.get_concurrency_keys():
        return
    with suppress(DBAPIError):  # Another process was first.
        storage.initialize_concurrency_limit_to_default(pool)


def runs_that_planned(instance: dg.DagsterInstance, key: dg.AssetKey, partition: str, *, limit: int) -> list[str]:
    """Return the runs that were to materialize a partition, the latest first, of so many plans."""
    records = instance.event_log_storage.get_event_records(
        dg.EventRecordsFilter(
            dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED, asset_key=key, asset_partitions=[partition]
        ),
        limit=limit,
    )
    return list(dict.fromkeys(record.run_id for record in records))


def materializations(
    instance: dg.DagsterInstance, key: dg.AssetKey, *, page: int, partition: str | None = None
) -> Iterator[Stored]:
    """Yield all materializations of an asset, or of a partition of it, the newest first.

    Args:
        instance: where.
        key: the asset.
        page: how many to read at once.
        partition: the only one to look at; None for all, and for those of none.
    """
    wanted = key if partition is None else dg.AssetRecordsFilter(asset_key=key, asset_partitions=[partition])
    cursor: str | None = None
    while True:
        result = instance.fetch_materializations(wanted, limit=page, cursor=cursor)
        for record in result.records:
            if (stored := stored_materialization(record)) is not None:
                yield stored
        if not result.has_more:
            return
        cursor = result.cursor


def newest_materializations(
    instance: dg.DagsterInstance, keys: Sequence[dg.AssetKey]
) -> Mapping[dg.AssetKey, Stored | None]:
    """The materialization that was written last, of each of some assets of which anything was; None where none was."""
    newest: dict[dg.AssetKey, Stored | None] = {}
    storage = instance.event_log_storage
    for some in batches(keys, VALUES_AT_ONCE):
        others = some
        if isinstance(storage, SqlEventLogStorage):
            rows, others = newest_rows(storage, others)
            newest.update(rows)
        for record in instance.get_asset_records(others) if others else ():
            last = record.asset_entry.last_materialization_record
            newest[record.asset_entry.asset_key] = None if last is None else stored_materialization(last)
    return newest


def materializations_of_partitions(
    instance: dg.DagsterInstance, key: dg.AssetKey, partitions: Sequence[str]
) -> Mapping[str, Stored]:
    """The newest materialization of each of some partitions that has one."""
    newest: dict[str, Stored] = {}
    for wanted in batches(partitions, _PARTITIONS_AT_ONCE):
        ids = instance.event_log_storage.get_latest_storage_id_by_partition(
            key, dg.DagsterEventType.ASSET_MATERIALIZATION, set(wanted)
        )
        for record in (
            instance.event_log_storage.get_event_records(
                dg.EventRecordsFilter(
                    dg.DagsterEventType.ASSET_MATERIALIZATION, asset_key=key, storage_ids=sorted(ids.values())
                )
            )
            if ids
            else ()
        ):
            stored = stored_materialization(record)
            if stored is not None and stored.partition is not None:
                newest[stored.partition] = stored
    return newest


def observations(instance: dg.DagsterInstance, key: dg.AssetKey, *, page: int) -> Iterator[Stored]:
    """Yield all observations of an asset, the newest first.

    Args:
        instance: where.
        key: the asset.
        page: how many to read at once.
    """
    cursor: str | None = None
    while True:
        result = instance.fetch_observations(key, limit=page, cursor=cursor)
        for record in result.records:
            if (stored := _stored_observation(record)) is not None:
                yield stored
        if not result.has_more:
            return
        cursor = result.cursor


def newest_observations(instance: dg.DagsterInstance, keys: Sequence[dg.AssetKey]) -> Mapping[dg.AssetKey, Stored]:
    """Return the observation that was written last of each of some assets that has one."""
    storage = instance.event_log_storage
    assert isinstance(storage, SqlEventLogStorage), "a Dagster instance of SQLite or Postgres"
    table = SqlEventLogStorageTable.c
    newest: dict[dg.AssetKey, Stored] = {}
    by_text = {key.to_string(): key for key in keys}
    for some in batches(keys, VALUES_AT_ONCE):
        last = (
            select(func.max(table.id))
            .join(AssetKeyTable, AssetKeyTable.c.asset_key == table.asset_key)
            .where(table.asset_key.in_([key.to_string() for key in some]))
            .where(table.dagster_event_type == dg.DagsterEventType.ASSET_OBSERVATION.value, _NOT_WIPED)
            .group_by(table.asset_key)
        )
        query = select(table.asset_key, table.id, table.event).where(table.id.in_(last))
        with storage.index_connection() as connection:
            for asset, storage_id, event in connection.execute(query):
                stored = read_observation(storage_id, event)
                if stored is None:
                    record = dg.EventLogRecord(storage_id, deserialize_value(event, dg.EventLogEntry))
                    stored = _stored_observation(record)
                if stored is not None:
                    newest[by_text[asset]] = stored
    return newest


def stored_materialization(record: dg.EventLogRecord) -> Stored | None:
    """The materialization that a record holds."""
    materialization = record.asset_materialization
    if materialization is None:
        return None
    return Stored(
        record.storage_id,
        record.run_id,
        record.timestamp,
        materialization.partition,
        values_of(materialization.metadata),
    )


def runs_with_events(instance: dg.DagsterInstance, keys: Sequence[dg.AssetKey]) -> set[str]:
    """Return the runs that have left materializations or observations of some assets since those were last wiped."""
    storage = instance.event_log_storage
    assert isinstance(storage, SqlEventLogStorage), "a Dagster instance of SQLite or Postgres"
    table = SqlEventLogStorageTable.c
    kinds = [dg.DagsterEventType.ASSET_MATERIALIZATION.value, dg.DagsterEventType.ASSET_OBSERVATION.value]
    found: set[str] = set()
    for some in batches(keys, VALUES_AT_ONCE):
        wanted = [key.to_string() for key in some]
        query = (
            select(table.run_id)
            .distinct()
            .join(AssetKeyTable, AssetKeyTable.c.asset_key == table.asset_key)
            .where(table.asset_key.in_(wanted), table.dagster_event_type.in_(kinds))
            .where(_NOT_WIPED)
        )
        with storage.index_connection() as connection:
            found.update(connection.execute(query).scalars())
    return found


def recompute_partition_status(instance: dg.DagsterInstance, keys: Sequence[dg.AssetKey]) -> None:
    """Let Dagster compute anew which partitions of some assets are materialized.

    It keeps what it computed last and adds newer events, so those of deleted runs would stay.
    """
    storage = instance.event_log_storage
    assert isinstance(storage, SqlEventLogStorage), "a Dagster instance of SQLite or Postgres"
    for key in keys:
        storage.wipe_asset_cached_status(key)


def delete_run(instance: dg.DagsterInstance, run_id: str) -> None:
    """Delete a run and its events."""
    instance.delete_run(run_id)
    storage = instance.event_log_storage
    if isinstance(storage, SqliteEventLogStorage):
        # Its events have a file of their own, which Dagster empties and leaves.
        Path(storage.path_for_shard(run_id)).unlink(missing_ok=True)


def _stored_observation(record: dg.EventLogRecord) -> Stored | None:
    observation = record.asset_observation
    if observation is None:
        return None
    return Stored(
        record.storage_id, record.run_id, record.timestamp, observation.partition, values_of(observation.metadata)
    )
