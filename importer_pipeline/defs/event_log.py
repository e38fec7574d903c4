"""What we need of Dagster's event log beyond its public interface. Everything internal to Dagster stands here."""

from collections.abc import Iterator

import dagster as dg
from dagster._core.events import AssetMaterializationPlannedData

Context = dg.OpExecutionContext | dg.AssetExecutionContext
"""Of a step."""


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


def materializations(instance: dg.DagsterInstance, key: dg.AssetKey, *, page: int) -> Iterator[dg.AssetMaterialization]:
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
            if (materialization := record.asset_materialization) is not None:
                yield materialization
        if not result.has_more:
            return
        cursor = result.cursor


def observations(instance: dg.DagsterInstance, key: dg.AssetKey, *, most: int) -> Iterator[dg.AssetObservation]:
    """The newest observations of an asset, the newest first."""
    for record in instance.fetch_observations(key, limit=most).records:
        if (observation := record.asset_observation) is not None:
            yield observation
