"""What we need of Dagster's event log beyond its public interface. Everything internal to Dagster stands here."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg
from dagster._core.events import AssetMaterializationPlannedData
from dagster._core.storage.event_log.base import AssetRecord

Context = dg.OpExecutionContext | dg.AssetExecutionContext
"""Of a step."""


_PARTITIONS_AT_ONCE = 500
"""Partitions that are looked up in one statement."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A materialization or an observation as the log keeps it."""

    storage_id: int
    """Grows with each event that is written."""
    timestamp: float
    """When it was written, in epoch seconds."""
    partition: str | None
    metadata: Mapping[str, dg.MetadataValue]


def step_key(context: Context) -> str:
    """What the step is called in its run."""
    op_context = context.op_execution_context if isinstance(context, dg.AssetExecutionContext) else context
    return str(op_context.op_handle)


def plan_partition(context: Context, key: dg.AssetKey, partition: str) -> None:
    """Say that this run was to materialize a partition: it is red if the run fails and has not materialized it.

    A step that plans nothing beforehand has no other way to show what it could not do.
    """
    event = dg.DagsterEvent.build_asset_materialization_planned_event(
        context.run.job_name,
        step_key(context),
        AssetMaterializationPlannedData(key, partition=partition, partitions_subset=None),
    )
    context.instance.report_dagster_event(event, context.run.run_id)


def materializations(instance: dg.DagsterInstance, key: dg.AssetKey, *, page: int) -> Iterator[Stored]:
    """All materializations of an asset, the newest first.

    Args:
        instance: where.
        key: the asset.
        page: how many to read at once.
    """
    cursor: str | None = None
    while True:
        result = instance.fetch_materializations(key, limit=page, cursor=cursor)
        for record in result.records:
            if (stored := stored_materialization(record)) is not None:
                yield stored
        if not result.has_more:
            return
        cursor = result.cursor


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


def observations(instance: dg.DagsterInstance, key: dg.AssetKey, *, most: int) -> Iterator[Stored]:
    """The newest observations of an asset, the newest first."""
    for record in instance.fetch_observations(key, limit=most).records:
        if (observation := record.asset_observation) is not None:
            yield Stored(record.storage_id, record.timestamp, observation.partition, observation.metadata)


def stored_materialization(record: dg.EventLogRecord) -> Stored | None:
    """The materialization that a record holds."""
    materialization = record.asset_materialization
    if materialization is None:
        return None
    return Stored(record.storage_id, record.timestamp, materialization.partition, materialization.metadata)


def last_wiped(record: AssetRecord) -> float:
    """When an asset was wiped last, in epoch seconds; 0 if it never was."""
    details = record.asset_entry.asset_details
    return 0.0 if details is None or details.last_wipe_timestamp is None else details.last_wipe_timestamp
