"""What we need of Dagster's event log beyond its public interface. Everything internal to Dagster stands here."""

# pyright: reportPrivateUsage=false

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.events import AssetMaterializationPlannedData, AssetObservationData, StepMaterializationData
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES,
    AssetCheckExecutionRecordStatus,
)
from dagster._core.storage.event_log import (
    AssetKeyTable,
    SqlEventLogStorage,
    SqlEventLogStorageTable,
    SqliteEventLogStorage,
)
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
from dagster._serdes import deserialize_value, serialize_value
from dagster_postgres import PostgresEventLogStorage
from sqlalchemy import and_, delete, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

Context = dg.OpExecutionContext | dg.AssetExecutionContext
"""Of a step."""

AssetEvent = dg.AssetMaterialization | dg.AssetObservation

_INSERTS = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
"""Those that can change a row that is there."""

_NOT_WIPED = or_(
    AssetKeyTable.c.wipe_timestamp.is_(None), SqlEventLogStorageTable.c.timestamp > AssetKeyTable.c.wipe_timestamp
)
"""Postgres keeps the events of a wiped asset, and only ignores them."""

_ASSETS_AT_ONCE = 3000
"""Assets that are looked up in one statement: SQLite takes no more than some tens of thousands."""

_PARTITIONS_AT_ONCE = 500
"""Partitions that are looked up in one statement."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A materialization or an observation as the log keeps it."""

    storage_id: int
    """Grows with each event that is written."""
    run_id: str
    """Of the run that wrote it; "" where none did."""
    timestamp: float
    """Time of writing, in epoch seconds."""
    partition: str | None
    metadata: Mapping[str, dg.MetadataValue]


@dataclass(frozen=True, slots=True)
class Evaluated:
    """An evaluation of a check as the log keeps it."""

    timestamp: float
    """Time of writing, in epoch seconds."""
    metadata: Mapping[str, dg.MetadataValue]


def step_key(context: Context) -> str:
    """Return the key of the step in its run."""
    return str(_op_context(context).op_handle)


def pool_of(context: Context) -> str | None:
    """The pool that the step takes a place in."""
    return _op_context(context).get_step_execution_context().step.pool


def store_events(context: Context, events: Sequence[AssetEvent]) -> None:
    """Write events of the step, all of them or none, and in their order.

    `context.log_event` writes them one by one, each with connections of its own: 9 ms of CPU with SQLite, where a hundred at
    once take a fifth of it.
    """
    if not events:
        return
    entries = [_entry(context, event) for event in events]
    storage = context.instance.event_log_storage
    if not isinstance(storage, SqliteEventLogStorage | PostgresEventLogStorage):
        for entry in entries:
            storage.store_event(entry)
        return
    rows = [storage._event_to_row(entry) for entry in entries]
    if isinstance(storage, SqliteEventLogStorage):
        # There, a run's events are in a file of its own, and those of assets in a common one as well.
        with storage.run_connection(context.run.run_id) as connection:
            _insert(connection, rows)
    with storage.index_transaction() as connection:
        _index(connection, storage, entries, _insert(connection, rows))


def store_evaluations(context: Context, evaluations: Sequence[dg.AssetCheckEvaluation]) -> None:
    """Write evaluations of checks in one transaction, planned by the run or not; each check once for a run.

    As for `store_events`: `context.log_event` takes 10 ms for each, and there may be one for each audience.
    """
    storage = context.instance.event_log_storage
    if not evaluations:
        return
    if not isinstance(storage, SqliteEventLogStorage | PostgresEventLogStorage):
        for evaluation in evaluations:
            context.log_event(evaluation)  # pyright: ignore[reportArgumentType]
        return
    entries = [_entry(context, evaluation) for evaluation in evaluations]
    rows = [storage._event_to_row(entry) for entry in entries]
    run_id = context.run.run_id
    if isinstance(storage, SqliteEventLogStorage):
        with storage.run_connection(run_id) as connection:
            _insert(connection, rows)
    table = AssetCheckExecutionsTable
    with storage.index_transaction() as connection:
        for name, keys in _by_name(evaluations).items():
            for start in range(0, len(keys), _ASSETS_AT_ONCE):
                some = keys[start : start + _ASSETS_AT_ONCE]
                of_run = and_(table.c.run_id == run_id, table.c.check_name == name, table.c.asset_key.in_(some))
                connection.execute(delete(table).where(of_run))
        ids = _insert(connection, rows)
        connection.execute(
            table.insert(),
            [
                {
                    "asset_key": evaluation.asset_key.to_string(),
                    "check_name": evaluation.check_name,
                    "run_id": run_id,
                    "execution_status": (
                        AssetCheckExecutionRecordStatus.SUCCEEDED
                        if evaluation.passed
                        else AssetCheckExecutionRecordStatus.FAILED
                    ).value,
                    "evaluation_event": serialize_value(entry),
                    "evaluation_event_timestamp": storage._event_insert_timestamp(entry),
                    "evaluation_event_storage_id": id_,
                }
                for evaluation, entry, id_ in zip(evaluations, entries, ids, strict=True)
            ],
        )


def newest_evaluations(
    instance: dg.DagsterInstance, keys: Sequence[dg.AssetCheckKey]
) -> Mapping[dg.AssetCheckKey, Evaluated]:
    """Return the newest evaluation of each of some checks that has one."""
    newest: dict[dg.AssetCheckKey, Evaluated] = {}
    storage = instance.event_log_storage
    for start in range(0, len(keys), _ASSETS_AT_ONCE):
        found = storage.get_latest_asset_check_execution_by_key(keys[start : start + _ASSETS_AT_ONCE])
        for key, record in found.items():
            if record.status not in COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES:
                # Planned by a run that has not come to it, or has failed before.
                history = storage.get_asset_check_execution_history(
                    key, limit=1, status=COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES
                )
                record = next(iter(history), None)
            if record is not None and record.evaluation is not None and record.event is not None:
                newest[key] = Evaluated(record.event.timestamp, record.evaluation.metadata)
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


def plan_partition(context: Context, key: dg.AssetKey, partition: str) -> None:
    """Say that this run was to materialize a partition: it is red if the run fails and has not materialized it.

    A step that plans nothing beforehand has no other way to show what it could not do.
    """
    plan_partition_of_run(context.instance, context.run, step_key(context), key, partition)


def plan_partition_of_run(
    instance: dg.DagsterInstance, run: dg.DagsterRun, step: str, key: dg.AssetKey, partition: str
) -> None:
    """Say that a run, which may be over, was to materialize a partition: see `plan_partition`."""
    event = dg.DagsterEvent.build_asset_materialization_planned_event(
        run.job_name, step, AssetMaterializationPlannedData(key, partition=partition, partitions_subset=None)
    )
    instance.report_dagster_event(event, run.run_id)


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
    for start in range(0, len(keys), _ASSETS_AT_ONCE):
        for record in instance.get_asset_records(keys[start : start + _ASSETS_AT_ONCE]):
            last = record.asset_entry.last_materialization_record
            newest[record.asset_entry.asset_key] = None if last is None else stored_materialization(last)
    return newest


def materializations_of_partitions(
    instance: dg.DagsterInstance, key: dg.AssetKey, partitions: Sequence[str]
) -> Mapping[str, Stored]:
    """The newest materialization of each of some partitions that has one."""
    newest: dict[str, Stored] = {}
    for start in range(0, len(partitions), _PARTITIONS_AT_ONCE):
        wanted = partitions[start : start + _PARTITIONS_AT_ONCE]
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
    for start in range(0, len(keys), _ASSETS_AT_ONCE):
        last = (
            select(func.max(table.id))
            .join(AssetKeyTable, AssetKeyTable.c.asset_key == table.asset_key)
            .where(table.asset_key.in_([key.to_string() for key in keys[start : start + _ASSETS_AT_ONCE]]))
            .where(table.dagster_event_type == dg.DagsterEventType.ASSET_OBSERVATION.value, _NOT_WIPED)
            .group_by(table.asset_key)
        )
        with storage.index_connection() as connection:
            rows = connection.execute(select(table.id, table.event).where(table.id.in_(last))).all()
        for storage_id, event in rows:
            record = dg.EventLogRecord(storage_id, deserialize_value(event, dg.EventLogEntry))
            if record.asset_key is not None and (stored := _stored_observation(record)) is not None:
                newest[record.asset_key] = stored
    return newest


def stored_materialization(record: dg.EventLogRecord) -> Stored | None:
    """The materialization that a record holds."""
    materialization = record.asset_materialization
    if materialization is None:
        return None
    return Stored(
        record.storage_id, record.run_id, record.timestamp, materialization.partition, materialization.metadata
    )


def runs_with_events(instance: dg.DagsterInstance, keys: Sequence[dg.AssetKey]) -> set[str]:
    """Return the runs that have left materializations or observations of some assets since those were last wiped."""
    storage = instance.event_log_storage
    assert isinstance(storage, SqlEventLogStorage), "a Dagster instance of SQLite or Postgres"
    table = SqlEventLogStorageTable.c
    kinds = [dg.DagsterEventType.ASSET_MATERIALIZATION.value, dg.DagsterEventType.ASSET_OBSERVATION.value]
    found: set[str] = set()
    for start in range(0, len(keys), _ASSETS_AT_ONCE):
        wanted = [key.to_string() for key in keys[start : start + _ASSETS_AT_ONCE]]
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
    return Stored(record.storage_id, record.run_id, record.timestamp, observation.partition, observation.metadata)


def console_loggers(log: dg.DagsterLogManager) -> Sequence[logging.Logger]:
    """Return the loggers that print what a step or a run logs; no other run has them."""
    return log._dagster_handler._loggers


def _op_context(context: Context) -> dg.OpExecutionContext:
    return context.op_execution_context if isinstance(context, dg.AssetExecutionContext) else context


def _entry(context: Context, event: AssetEvent | dg.AssetCheckEvaluation) -> dg.EventLogEntry:
    """Return the event that `context.log_event` would write."""
    step_context = _op_context(context).get_step_execution_context()
    step = step_context.step
    if isinstance(event, dg.AssetMaterialization):
        kind, data, message = (
            dg.DagsterEventType.ASSET_MATERIALIZATION,
            StepMaterializationData(event),
            event.description,
        )
    elif isinstance(event, dg.AssetCheckEvaluation):
        kind, data, message = dg.DagsterEventType.ASSET_CHECK_EVALUATION, event, event.description
    else:
        kind, data, message = dg.DagsterEventType.ASSET_OBSERVATION, AssetObservationData(event), None
    return dg.EventLogEntry(
        error_info=None,
        level=logging.DEBUG,
        user_message=message or "",
        run_id=context.run.run_id,
        timestamp=time.time(),
        step_key=step.key,
        job_name=step_context.job_name,
        dagster_event=dg.DagsterEvent(
            event_type_value=kind.value,
            job_name=step_context.job_name,
            step_handle=step.handle,
            node_handle=step.node_handle,
            step_kind_value=step.kind.value,
            logging_tags=step_context.event_tags,
            event_specific_data=data,
            message=message,
            pid=os.getpid(),
        ),
    )


def _by_name(evaluations: Sequence[dg.AssetCheckEvaluation]) -> Mapping[str, list[str]]:
    """Return the assets of the evaluations of each check."""
    found: dict[str, list[str]] = {}
    for evaluation in evaluations:
        found.setdefault(evaluation.check_name, []).append(evaluation.asset_key.to_string())
    return found


def _insert(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Write down the events themselves; returns their storage ids."""
    insert = SqlEventLogStorageTable.insert().returning(SqlEventLogStorageTable.c.id, sort_by_parameter_order=True)
    return list(connection.execute(insert, rows).scalars())


def _index(
    connection: Connection, storage: SqlEventLogStorage, entries: Sequence[dg.EventLogEntry], ids: Sequence[int]
) -> None:
    """Let their assets know them: of each asset, the newest."""
    storage._store_asset_event_tags(connection, entries, ids)
    newest = {_asset(entry): (entry, id_) for entry, id_ in zip(entries, ids, strict=True)}
    has_columns = storage._has_asset_key_index_cols_on_connection(connection)
    rows: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    # In the order of their keys: two processes that lock the rows of the same assets never wait for each other.
    for key in sorted(newest):
        values = storage._get_asset_entry_values(*newest[key], has_asset_key_index_cols=has_columns)
        rows.setdefault(tuple(values), []).append({"asset_key": key, **values})
    for names, group in rows.items():
        insert = _INSERTS[connection.dialect.name](AssetKeyTable)
        known = [AssetKeyTable.c.asset_key]
        connection.execute(
            insert.on_conflict_do_update(index_elements=known, set_={name: insert.excluded[name] for name in names})
            if names
            else insert.on_conflict_do_nothing(index_elements=known),
            group,
        )


def _asset(entry: dg.EventLogEntry) -> str:
    """The key of an event's asset, as the tables have it."""
    key = entry.get_dagster_event().asset_key
    assert key is not None, "an event of an asset"
    return key.to_string()
