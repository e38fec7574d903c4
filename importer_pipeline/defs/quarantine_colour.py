"""The colour of the quarantine's partitions: red while something is in them.

To Dagster, a partition is red if the last that happened to it is the plan of a failed run to materialize it. An entry is
a materialization, which alone would be green. So each is followed by such a plan of the run that put it there; while
that run goes on, the partition shows as under way. Runs that retry it may succeed, so they plan it for the earlier run.
"""

import dagster as dg

from importer_pipeline.defs.event_log import runs_that_planned
from importer_pipeline.defs.event_writing import plan_partition_of_run
from importer_pipeline.defs.names import QUARANTINE_KEY

_STEP = "quarantine"
"""The step that the plans are said to be of."""

_LOOK_BACK = 20
"""Plans of a partition among which a failed run is looked for: every retry adds one or two."""


def turn_red(instance: dg.DagsterInstance, partition: str, run: dg.DagsterRun) -> None:
    """Turn a partition red that an event of a run has just turned green.

    Args:
        instance: where.
        partition: of the quarantine.
        run: the run that put it there, or retried it; red for it if no run before it failed.
    """
    plan_partition_of_run(instance, _failed_run(instance, partition) or run, _STEP, QUARANTINE_KEY, partition)


def keep_red(instance: dg.DagsterInstance, partition: str) -> None:
    """Keep a partition red that is being retried, even if the run is canceled, or does not get to it."""
    if (failed := _failed_run(instance, partition)) is not None:
        plan_partition_of_run(instance, failed, _STEP, QUARANTINE_KEY, partition)


def runs_of_colour(instance: dg.DagsterInstance, partition: str) -> list[str]:
    """Return the run that a partition is red for, if any: without it, it would be green."""
    return runs_that_planned(instance, QUARANTINE_KEY, partition, limit=1)


def _failed_run(instance: dg.DagsterInstance, partition: str) -> dg.DagsterRun | None:
    planned = runs_that_planned(instance, QUARANTINE_KEY, partition, limit=_LOOK_BACK)
    if not planned:
        return None
    failed = instance.get_runs(dg.RunsFilter(run_ids=planned, statuses=[dg.DagsterRunStatus.FAILURE]))
    return failed[0] if failed else None
