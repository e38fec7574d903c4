"""The job that keeps the event log small: runs that are long over go, unless their events still say something.

Old ticks are Dagster's own to delete: see `retention` in `dagster.yaml`.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import dagster as dg
from pydantic import Field

from importer_pipeline.defs.chain_evidence import runs_of_last_hours
from importer_pipeline.defs.console import in_process_executor
from importer_pipeline.defs.event_log import delete_run, recompute_partition_status, runs_with_events
from importer_pipeline.defs.names import CONTACT_CHANGES, CONTACT_WINDOWS, CONTACTS
from importer_pipeline.defs.quarantine_events import runs_of_entries
from importer_pipeline.defs.settings import Settings, settings_from_environment
from importer_pipeline.listing.snapshots import AudienceName

_OVER = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
_RUNS_AT_ONCE = 1000

LEAST_DAYS = 8
"""A day more than a redrive looks back for what failed runs left."""


class PruneConfig(dg.Config):
    """The age from which runs are old."""

    older_than_days: int | None = Field(
        default=None,
        ge=LEAST_DAYS,
        description="Runs that began earlier go. Without it: those from before the hours in view (IMPORTER_MONTHS_IN_VIEW).",
    )

    def cutoff(self, settings: Settings, now: datetime) -> datetime:
        """Return the time before which a run is old."""
        if self.older_than_days is None:
            return settings.first_hour(now)
        return now - timedelta(days=self.older_than_days)


def prune_job(settings: Settings) -> dg.JobDefinition:
    """`prune_history`: deletes old runs. What the next sync, the quarantine or a full sync goes by is kept."""

    @dg.op(out=dg.Out(dg.Nothing))
    def delete_old_runs(context: dg.OpExecutionContext, config: PruneConfig) -> None:
        """Delete the runs that are old and of which nothing is needed any more."""
        cutoff = config.cutoff(settings, datetime.now(UTC))
        deleted, kept = prune(context.instance, cutoff)
        context.log.info(
            f"of the runs from before {cutoff:%Y-%m-%d %H:%M} UTC, {deleted} are deleted with their events. {kept} are kept: "
            "they say how far an audience is, what its newest snapshot holds, or what is in the quarantine"
        )

    @dg.job(
        name="prune_history",
        description=(
            "Deletes runs that are long over, with their events. How far each audience is, the windows of its newest snapshot "
            "and what is in the quarantine stay known; hours whose runs are deleted show as missing, and are not read again."
        ),
        executor_def=in_process_executor,
    )
    def prune_history() -> None:
        delete_old_runs()

    return prune_history


def prune(instance: dg.DagsterInstance, cutoff: datetime) -> tuple[int, int]:
    """Delete the runs that are over and began before a moment, unless something in them is needed.

    Returns:
        how many were deleted, and how many of that age were kept.
    """
    old = _old_runs(instance, cutoff)
    needed = _needed(instance) if old else set[str]()
    for run_id in old:
        if run_id not in needed:
            delete_run(instance, run_id)
    kept = len(needed.intersection(old))
    if kept < len(old):
        changes = [key for key in instance.all_asset_keys() if key.path[-1] == CONTACT_CHANGES]
        recompute_partition_status(instance, changes)
    return len(old) - kept, kept


def _old_runs(instance: dg.DagsterInstance, cutoff: datetime) -> list[str]:
    """The old runs, the newest first."""
    old = dg.RunsFilter(statuses=list(_OVER), created_before=cutoff)
    found: list[str] = []
    while records := instance.get_run_records(old, limit=_RUNS_AT_ONCE, cursor=found[-1] if found else None):
        found += [record.dagster_run.run_id for record in records]
    return found


def _needed(instance: dg.DagsterInstance) -> set[str]:
    """Runs whose events a later sync, redrive or look at the newest snapshot goes by, of undeclared clients too."""
    keys = [key for key in instance.all_asset_keys() if len(key.path) == 3]
    changes = [AudienceName(key.path[0], key.path[1]) for key in keys if key.path[2] == CONTACT_CHANGES]
    snapshots = [key for key in keys if key.path[2] in {CONTACTS, CONTACT_WINDOWS}]
    found: list[Iterable[str]] = [
        runs_with_events(instance, snapshots),
        runs_of_last_hours(instance, changes, settings_from_environment().view(datetime.now(UTC))),
        runs_of_entries(instance),
    ]
    return set[str]().union(*found)
