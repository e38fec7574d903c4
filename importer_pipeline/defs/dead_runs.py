"""Runs whose processes are gone, reported as ended, so that they give their places in the pool back.

Dagster considers a run in progress until its end is reported, so one that was started by the command line and killed
stays in progress for ever. This module decides when a run is dead and reports it. The locks that show it are in `locks`;
how a run shows that it is alive is in `run_liveness`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import dagster as dg

from importer_pipeline.defs.locking import run_locks
from importer_pipeline.errors import LocksUnusable
from importer_pipeline.locks.protocol import RunLocks

MARK_TAG = "importer_pipeline/sign_of_life"
"""The tag of a run that holds its lock: see `RunLocks.mark`."""

_RUNNING = (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)

_WAITING = (dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING)

_UNMARKED_SECONDS = 300.0
"""How long a run may take until it bears its mark."""

_GONE = "The process of this run is gone: it was killed, or its machine went down."


def report_dead_runs(instance: dg.DagsterInstance, locks: RunLocks) -> list[str]:
    """Report the runs as ended whose processes are gone, and free their places in pools.

    Runs without a mark, or with that of another folder or machine, are left alone: their locks tell nothing here.

    Returns:
        ids of the runs that were found dead.

    Raises:
        LocksUnusable: the locks can't be looked at.
    """
    runs = instance.get_runs(dg.RunsFilter(statuses=list(_RUNNING)))
    marked = [run.run_id for run in runs if MARK_TAG in run.tags and run.tags[MARK_TAG] == locks.mark(run.run_id)]
    dead = [run_id for run_id in marked if _report_if_dead(instance, run_id, locks)]
    locks.remove_old()
    return dead


def live_runs(instance: dg.DagsterInstance, locks: RunLocks, job: str, tags: Mapping[str, str]) -> list[str]:
    """Ids of a job's runs that may still do something: that wait for their turn, or whose processes live.

    To be asked once the dead ones have been reported. A run that says that it goes on and of which nothing can be told is not
    believed for long: it may have been killed on another machine.

    Args:
        instance: where.
        locks: of its runs.
        job: the job's name.
        tags: of those that are meant, among all jobs of that name.

    Raises:
        LocksUnusable: the locks can't be looked at.
    """
    waiting, running, young = (
        instance.get_runs(dg.RunsFilter(job_name=job, tags=dict(tags), statuses=list(statuses), created_after=after))
        for statuses, after in ((_WAITING, None), (_RUNNING, None), (_RUNNING, _ago(_UNMARKED_SECONDS)))
    )
    marked = [run for run in running if run.tags.get(MARK_TAG) == locks.mark(run.run_id)]
    unmarked = [run for run in young if MARK_TAG not in run.tags]
    return [run.run_id for run in (*waiting, *marked, *unmarked)]


def _ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


def _report_if_dead(instance: dg.DagsterInstance, run_id: str, locks: RunLocks) -> bool:
    with locks.if_free(run_id) as free:
        # Looked up again now that nobody else can be at it: the run may have ended meanwhile, or another process reported it.
        run = instance.get_run_by_id(run_id) if free else None
        if run is None or run.status not in _RUNNING:
            return False
        # Freed first: if this process dies in between, the run still stands as running, and the next one does it all again.
        instance.event_log_storage.free_concurrency_slots_for_run(run_id)
        if run.status is dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, _GONE)
        else:
            instance.report_run_failed(run, f"{_GONE} Remedy: start it again, and it goes on where it stopped")
        return True


@dg.sensor(
    name="report_dead_runs",
    description="Reports runs as failed whose processes were killed, so that others get their places in the pool.",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def dead_runs_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Report, and start no run."""
    try:
        dead = report_dead_runs(context.instance, run_locks(context.instance))
    except LocksUnusable as error:
        return dg.SkipReason(str(error))
    return dg.SkipReason(
        f"reported as ended, since their processes are gone: {', '.join(dead)}" if dead else "no run is dead"
    )
