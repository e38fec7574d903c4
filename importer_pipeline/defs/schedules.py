"""The hourly schedules: one for what changed, and one for audiences that have to be synced in full first.

Two, because a schedule starts one job, and because a full sync may take longer than an hour: what changes elsewhere does not
wait for it.
"""

import time
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.errors import DagsterInvalidDefinitionError
from dagster._utils.schedules import cron_string_iterator, is_valid_cron_string

from importer_pipeline.clients.collection import Clients
from importer_pipeline.defs.chain_evidence import fingerprints, read_evidence
from importer_pipeline.defs.dead_runs import live_runs, report_dead_runs
from importer_pipeline.defs.jobs import SHARD_TAG
from importer_pipeline.defs.locking import run_locks
from importer_pipeline.defs.settings import Settings
from importer_pipeline.errors import LocksUnusable, SettingsInvalid
from importer_pipeline.planning.chain import chain_of

_SHARE_OF_A_TICK = 5 / 6
"""How much of the time between two ticks a run may take."""

_START_AND_END_SECONDS = 30.0
"""What a run's process takes to start and to end: with frequent ticks, more than the rest of that time."""

_TICKS = 100
"""Ticks that are looked at for the longest pause between two: days, if some hours have none."""

_MISSED_TICKS = 3
"""Ticks without a status until that is overdue."""

_PRUNE_CRON = "37 3 * * *"
"""Once a day, far from the ticks at full hours."""

_MAX_MINUTES = 50.0
"""How long it may take however rare the ticks are: what hangs for so long is left to the next one."""


def hourly_schedules(
    clients: Clients, settings: Settings, *, changes: UnresolvedAssetJobDefinition, full: dg.JobDefinition
) -> list[dg.ScheduleDefinition]:
    """`hourly_sync` and `hourly_first_sync`.

    Args:
        clients: all clients.
        settings: when they run, and whether they do by themselves.
        changes: what imports the changes.
        full: what imports whole audiences.

    Raises:
        SettingsInvalid: the cron expression is none.
    """
    status = _default_status(settings)

    def hourly_sync(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        config = {"newcomers": False, "within_minutes": _minutes_of_a_run(settings.hourly_cron)}
        return _skip(context.instance, clients, changes) or dg.RunRequest(
            run_config={"ops": {"import_changes": {"config": config}}}
        )

    def hourly_first_sync(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        skip = _skip(context.instance, clients, full)
        if skip is not None:
            return skip
        if not _newcomers(context.instance, clients, settings):
            return dg.SkipReason("every audience has been synced in full, and its changes since")
        return dg.RunRequest(run_config={"ops": {"import_contacts": {"config": {"newcomers_only": True}}}})

    try:
        return [
            dg.ScheduleDefinition(
                name="hourly_sync",
                description="What changed, for every audience that has been synced in full.",
                job=changes,
                cron_schedule=settings.hourly_cron,
                default_status=status,
                execution_fn=hourly_sync,
            ),
            dg.ScheduleDefinition(
                name="hourly_first_sync",
                description="A full sync of audiences that have none, or whose list, target or mapping was changed.",
                job=full,
                cron_schedule=settings.hourly_cron,
                default_status=status,
                execution_fn=hourly_first_sync,
            ),
        ]
    except DagsterInvalidDefinitionError:
        raise SettingsInvalid(
            "IMPORTER_HOURLY_CRON: expected a cron expression of five fields, found something else",
            remedy='write it like "7 * * * *", or unset it',
        ) from None


def prune_schedule(settings: Settings, job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Return `daily_prune`, which runs by itself where the hourly schedules do."""
    return dg.ScheduleDefinition(
        name="daily_prune",
        description="Deletes old runs that nothing depends on.",
        job=job,
        cron_schedule=_PRUNE_CRON,
        default_status=_default_status(settings),
    )


def _default_status(settings: Settings) -> dg.DefaultScheduleStatus:
    return dg.DefaultScheduleStatus.RUNNING if settings.hourly == "on" else dg.DefaultScheduleStatus.STOPPED


def stale_after(settings: Settings) -> timedelta | None:
    """Return how old the newest status of a shard may be: three times the longest pause between ticks.

    None if the schedules do not run by themselves: nobody knows then when there should be one.
    """
    if settings.hourly == "off" or not is_valid_cron_string(settings.hourly_cron):
        return None
    ticks = list(islice(cron_string_iterator(time.time(), settings.hourly_cron, "UTC"), _TICKS))
    return _MISSED_TICKS * max(later - earlier for earlier, later in pairwise(ticks))


def _skip(
    instance: dg.DagsterInstance, clients: Clients, job: dg.JobDefinition | UnresolvedAssetJobDefinition
) -> dg.SkipReason | None:
    """Return why the job must not start now, if so. Dead runs are reported first: they would look like live ones."""
    if not clients.clients:
        return dg.SkipReason("there are no clients here to import")
    locks = run_locks(instance)
    try:
        report_dead_runs(instance, locks)
        live = live_runs(instance, locks, job.name, {SHARD_TAG: (job.tags or {})[SHARD_TAG]})
    except LocksUnusable as error:
        return dg.SkipReason(str(error))
    if not live:
        return None
    return dg.SkipReason(f"run {live[0]} of {job.name} still goes on: what it leaves is taken up by the next tick")


def _minutes_of_a_run(cron: str) -> float:
    """Return how long a run may take to end before the next tick, whatever hangs: 50 minutes of an hour."""
    ticks = cron_string_iterator(time.time(), cron, "UTC")
    first, second = next(ticks), next(ticks)
    pause = (second - first).total_seconds()
    return min(_MAX_MINUTES * 60, pause * _SHARE_OF_A_TICK, max(pause / 2, pause - _START_AND_END_SECONDS)) / 60


def _newcomers(instance: dg.DagsterInstance, clients: Clients, settings: Settings) -> bool:
    """Return whether an audience has no chain yet."""
    now = fingerprints(clients.select([], []))
    view = settings.view(datetime.now(UTC))
    evidence = read_evidence(instance, list(now), view)
    return any(chain_of(evidence[name], fingerprint=is_now, view=view) is None for name, is_now in now.items())
