"""How a run shows that it lives, and that it was stopped and did not fail: a resource that every step of ours asks for."""

import sys
from collections.abc import Iterator

import dagster as dg

from importer_pipeline.defs.dead_runs import MARK_TAG, report_dead_runs
from importer_pipeline.defs.event_log import make_pool_known
from importer_pipeline.defs.locking import run_locks
from importer_pipeline.defs.names import POOL
from importer_pipeline.defs.time_zone import time_zone_problem
from importer_pipeline.errors import LocksUnusable


class RunLiveness:
    """The resource of every op and asset that takes a pool slot: its run can then be distinguished from a dead one."""


@dg.resource(description="Reports dead runs, and lets others see for how long this run's process lives.")
def sign_of_life(context: dg.InitResourceContext) -> Iterator[RunLiveness]:
    """Report the dead runs, then hold this run's lock until the process exits, and mark the run.

    A resource, because these are set up before a step waits for its place: a run comes to report the dead ones that have all
    places before it would wait for them. That is so with the in-process executor; another one sets them up in each step's own
    process, so that the run would look dead between two steps.
    """
    instance, run, log = context.instance, context.run, context.log
    # No other process ever sees an ephemeral instance's runs.
    if instance is not None and run is not None and log is not None and not instance.is_ephemeral:
        make_pool_known(instance, POOL)
        _lock_run(instance, run.run_id, log)
        if (problem := time_zone_problem(instance)) is not None:
            log.warning(problem)
    try:
        yield RunLiveness()
    finally:
        if instance is not None and run is not None:
            _report_interrupted(instance, run.run_id)


def _lock_run(instance: dg.DagsterInstance, run_id: str, log: dg.DagsterLogManager) -> None:
    try:
        locks = run_locks(instance)
        for dead in report_dead_runs(instance, locks):
            log.warning(f"run {dead} stood as running, but its process is gone: it is reported as ended")
        if locks.hold(run_id):
            instance.add_run_tags(run_id, {MARK_TAG: locks.mark(run_id)})
    except LocksUnusable as error:
        log.warning(f"nobody will notice if this run's process is killed, since {error}")


def _report_interrupted(instance: dg.DagsterInstance, run_id: str) -> None:
    """A run that Ctrl-C or SIGTERM ends is canceled; Dagster calls it failed unless someone has asked for its end before."""
    if not isinstance(sys.exc_info()[1], dg.DagsterExecutionInterruptedError | KeyboardInterrupt):
        return
    run = instance.get_run_by_id(run_id)
    if run is not None and run.status is dg.DagsterRunStatus.STARTED:
        instance.report_run_canceling(run, "The run's process was told to end.")
