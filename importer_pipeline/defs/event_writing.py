"""Writes events of a step to Dagster's event log, many in one transaction, and what else a step says of itself.

Internal to Dagster, like `event_log`, which reads them.
"""

# pyright: reportPrivateUsage=false

import logging
import os
import signal
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import dagster as dg
from dagster._core.events import AssetMaterializationPlannedData, AssetObservationData, StepMaterializationData
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log import (
    AssetKeyTable,
    SqlEventLogStorage,
    SqlEventLogStorageTable,
    SqliteEventLogStorage,
)
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
from dagster._time import datetime_from_timestamp
from dagster._utils.interrupts import capture_interrupts, check_captured_interrupt
from dagster_postgres import PostgresEventLogStorage
from sqlalchemy import and_, delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from importer_pipeline.defs.batches import VALUES_AT_ONCE, batches

Context = dg.OpExecutionContext | dg.AssetExecutionContext
"""Of a step."""

AssetEvent = dg.AssetMaterialization | dg.AssetObservation

_INSERTS = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
"""Those that can change a row that is there."""


def step_key(context: Context) -> str:
    """Return the key of the step in its run."""
    return str(_op_context(context).op_handle)


def pool_of(context: Context) -> str | None:
    """The pool that the step takes a place in."""
    return _op_context(context).get_step_execution_context().step.pool


def console_loggers(log: dg.DagsterLogManager) -> Sequence[logging.Logger]:
    """Return the loggers that print what a step or a run logs; no other run has them."""
    return log._dagster_handler._loggers


@contextmanager
def uninterrupted() -> Generator[None]:
    """Hold an interrupt back until the block has ended: Ctrl-C, SIGTERM, or a run that is terminated in the UI.

    Dagster raises it between any two instructions. Within a transaction, it could leave a connection that nobody closes,
    and SQLite would let nobody write until the process ends.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    is_interrupted = False
    try:
        with capture_interrupts():
            try:
                yield
            finally:
                is_interrupted = check_captured_interrupt()
    finally:
        if is_interrupted:  # Also if the block failed: who catches its error must not lose the interrupt.
            signal.raise_signal(signal.SIGINT)


@uninterrupted()
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
        _index(connection, storage, entries, rows, _insert(connection, rows))


@uninterrupted()
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
            for some in batches(keys, VALUES_AT_ONCE):
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
                    "evaluation_event": row["event"],
                    "evaluation_event_timestamp": storage._event_insert_timestamp(entry),
                    "evaluation_event_storage_id": id_,
                }
                for evaluation, entry, row, id_ in zip(evaluations, entries, rows, ids, strict=True)
            ],
        )


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
    connection: Connection,
    storage: SqlEventLogStorage,
    entries: Sequence[dg.EventLogEntry],
    event_rows: Sequence[Mapping[str, Any]],
    ids: Sequence[int],
) -> None:
    """Let their assets know them: of each asset, the newest."""
    storage._store_asset_event_tags(connection, entries, ids)
    newest = {
        _asset(entry): (entry, row["event"], id_) for entry, row, id_ in zip(entries, event_rows, ids, strict=True)
    }
    has_columns = storage._has_asset_key_index_cols_on_connection(connection)
    rows: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    # In the order of their keys: two processes that lock the rows of the same assets never wait for each other.
    for key in sorted(newest):
        values = _values_of_asset(storage, *newest[key], has_columns=has_columns)
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


def _values_of_asset(
    storage: SqlEventLogStorage, entry: dg.EventLogEntry, written: str, storage_id: int, *, has_columns: bool
) -> dict[str, Any]:
    """Return what the row of an asset says of its newest event, which is `written` already."""
    if not entry.get_dagster_event().is_step_materialization:
        return storage._get_asset_entry_values(entry, storage_id, has_columns)
    # As Dagster does, which serializes the whole event again for it: a sixth of what it takes to write one.
    moment = {"last_materialization_timestamp": datetime_from_timestamp(entry.timestamp)} if has_columns else {}
    record = f'{{"__class__": "EventLogRecord", "event_log_entry": {written}, "storage_id": {storage_id}}}'
    return {"last_materialization": record, "last_run_id": entry.run_id, **moment}


def _asset(entry: dg.EventLogEntry) -> str:
    """The key of an event's asset, as the tables have it."""
    key = entry.get_dagster_event().asset_key
    assert key is not None, "an event of an asset"
    return key.to_string()
