"""The jobs. They plan no audience beforehand and report what they did, so that a run may take any of them."""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from pydantic import Field

from importer_pipeline.clients.collection import Clients
from importer_pipeline.clients.shards import Shard
from importer_pipeline.defs.assets import RESUME_WITHIN_HOURS
from importer_pipeline.defs.console import in_process_executor
from importer_pipeline.defs.event_writing import Context
from importer_pipeline.defs.failed_runs import RECENTLY, quarantine_recent_failures
from importer_pipeline.defs.import_step import fail_if_incomplete, import_all, run_import
from importer_pipeline.defs.names import SHARD_TAG, status_key
from importer_pipeline.defs.paused_accounts import account_label, paused_accounts
from importer_pipeline.defs.settings import Settings
from importer_pipeline.defs.status import StatusReporter, import_and_report, status_spec
from importer_pipeline.defs.status_events import status_check_specs
from importer_pipeline.defs.steps import StepResources, configured_asset_step, op_step
from importer_pipeline.errors import SelectionUnknown
from importer_pipeline.planning.quarantine import RetryRule
from importer_pipeline.planning.requests import (
    ChangesRequest,
    EntrySelection,
    FirstSyncRequest,
    Request,
    RetryRequest,
    WindowsRequest,
)
from importer_pipeline.planning.resuming import ResumeRule
from importer_pipeline.redaction import shortened
from importer_pipeline.runner.importing import Task
from importer_pipeline.runner.summary import ImportSummary

MAX_RUNTIME_TAG = "dagster/max_runtime"
"""The tag by which the daemon ends a run that takes longer than so many seconds."""

_MAX_RUNTIME_SECONDS = 7200
"""For a run that was to be over by itself, and hangs in something that nobody has thought of."""

_MAX_NAMED = 10


class SelectionConfig(dg.Config):
    """The audiences to import; all by default."""

    clients: list[str] = Field(default=[], description="Names of clients, all of whose audiences are taken.")
    audiences: list[str] = Field(default=[], description="Single audiences, as client/audience.")


class SnapshotConfig(SelectionConfig):
    """The audiences to import, and whether their unfinished snapshots are resumed."""

    restart: bool = Field(default=False, description="Take new snapshots, also where one is unfinished.")
    resume_within_hours: float = Field(
        default=RESUME_WITHIN_HOURS, ge=0, description="Maximum age of an unfinished snapshot to resume."
    )

    @property
    def rule(self) -> ResumeRule:
        """Return the rule by which snapshots are resumed."""
        return ResumeRule(within_seconds=self.resume_within_hours * 3600, restart=self.restart)


class TickConfig(dg.Config):
    """What only the hourly schedules set."""

    leave_paused: bool = Field(
        default=False,
        description="Leave out accounts that are paused because their keys were refused, as the hourly schedules do.",
    )


class FullSyncConfig(SnapshotConfig, TickConfig):
    """The audiences to import in full."""

    newcomers_only: bool = Field(
        default=False,
        description="Leave out those that have been synced since their last full sync: incremental_sync takes these.",
    )

    @property
    def request(self) -> Request:
        """Return the request for each audience."""
        windows = WindowsRequest(wanted=None, rule=self.rule)
        return FirstSyncRequest(windows=windows) if self.newcomers_only else windows


class ChangesConfig(SelectionConfig, TickConfig):
    """The audiences to bring up to date."""

    newcomers: bool = Field(
        default=True, description="Give audiences that were never synced in full a full sync, when the others are done."
    )
    retries: int = Field(
        default=RetryRule().attempts,
        ge=0,
        description="How often something in the quarantine is tried, with growing pauses, until only a person does it.",
    )
    within_minutes: float = Field(
        default=50.0, gt=0, description="How long it may take; what is left then is imported by the next run."
    )
    busy_patience_seconds: float = Field(
        default=60.0,
        ge=0,
        description="How long to wait for accounts that other runs have, when all else is done, until they are left out.",
    )


def full_sync_job(clients: Clients, settings: Settings, reporter: StatusReporter) -> dg.JobDefinition:
    """Build `full_sync`, which takes and imports a snapshot of each audience, or resumes an unfinished one."""

    def run(context: dg.OpExecutionContext, config: FullSyncConfig, resources: StepResources) -> None:
        tasks = _tasks(clients, config, config.request)
        if config.leave_paused:
            paused = paused_accounts(context.instance, settings)
            tasks = [task for task in tasks if account_label(task.client) not in paused]
        import_and_report(
            context,
            tasks,
            reporter,
            clients=clients,
            settings=resources.settings(),
            apis=resources.apis,
        )

    import_contacts = op_step(
        "import_contacts",
        FullSyncConfig,
        run,
        description="Take a snapshot of each audience, or resume an unfinished one, and import its contacts.",
    )

    @dg.job(
        name="full_sync",
        description=(
            "Imports all contacts of each audience: takes a snapshot, or goes on with the unfinished one. "
            "Its windows show live under contact_windows."
        ),
        tags={SHARD_TAG: str(settings.shard)},
        executor_def=in_process_executor,
    )
    def full_sync() -> None:
        import_contacts()

    return full_sync


def plan_windows_job(clients: Clients) -> dg.JobDefinition:
    """`plan_windows`: a snapshot of each audience is taken and its windows are registered; nothing is imported."""

    def run(context: dg.OpExecutionContext, config: SnapshotConfig, resources: StepResources) -> None:
        run_import(
            context,
            _tasks(clients, config, WindowsRequest(wanted=frozenset(), rule=config.rule)),
            clients=clients,
            settings=resources.settings(),
            apis=resources.apis,
        )

    register_windows = op_step(
        "register_windows",
        SnapshotConfig,
        run,
        description="Take a snapshot of each audience that does not have an unfinished one, and register its windows.",
    )

    @dg.job(
        name="plan_windows",
        description=(
            "Takes a snapshot of each audience and registers its windows as partitions of contact_windows, to be launched "
            "by hand. Imports nothing. An unfinished snapshot is kept, unless `restart` is set."
        ),
        executor_def=in_process_executor,
    )
    def plan_windows() -> None:
        register_windows()

    return plan_windows


def status_asset(
    clients: Clients, settings: Settings, reporter: StatusReporter, *, stale_after: timedelta | None
) -> dg.AssetsDefinition:
    """Return `sync_status`: materializing it imports what changed, every audience from the end of its own chain.

    Args:
        clients: of the shard.
        settings: of the deployment, and its shard, whose status it is.
        reporter: writes it.
        stale_after: after how long without a status it is overdue; None if it may be for ever.
    """

    def run(context: dg.AssetExecutionContext, config: ChangesConfig, resources: StepResources) -> None:
        began = time.monotonic()
        _quarantine_recent_failures(context, clients)
        windows = WindowsRequest(wanted=None, rule=SnapshotConfig().rule)
        retry = RetryRequest(wanted=EntrySelection(refs=None, rule=RetryRule(attempts=config.retries)), windows=windows)
        tasks = _tasks(clients, config, ChangesRequest(retry=retry, newcomers=windows if config.newcomers else None))
        if config.leave_paused:
            tasks = _of_tick(context, tasks, settings)
        import_settings = resources.settings(run_seconds=config.within_minutes * 60)
        summary = ImportSummary()
        is_tick = config.leave_paused
        with reporter.reporting_failure(context, summary, import_settings, began=began, is_tick=is_tick):
            import_all(
                context,
                tasks,
                summary,
                clients=clients,
                settings=import_settings,
                apis=resources.apis,
                busy_patience_seconds=config.busy_patience_seconds,
            )
        known = reporter.report(context, summary, import_settings, began=began, is_tick=is_tick)
        fail_if_incomplete(summary, known)

    return configured_asset_step(
        "import_changes",
        status_spec(settings.shard, stale_after=stale_after),
        ChangesConfig,
        run,
        checks=status_check_specs(status_key(settings.shard)),
        description="Import the contacts that changed since the last sync of each audience.",
    )


def incremental_sync_job(shard: Shard) -> UnresolvedAssetJobDefinition:
    """Return `incremental_sync`, the job of the status asset: the import of what changed in every audience."""
    return dg.define_asset_job(
        "incremental_sync",
        selection=dg.AssetSelection.assets(status_key(shard)).without_checks(),
        description=(
            "Imports what changed: for each audience all hours that are over and not in yet, from the last one without a gap. "
            "They show under contact_changes. An account that another run has is left to the next one."
        ),
        tags={SHARD_TAG: str(shard), MAX_RUNTIME_TAG: str(_MAX_RUNTIME_SECONDS)},
        executor_def=in_process_executor,
    )


def _quarantine_recent_failures(context: Context, clients: Clients) -> None:
    """Look for what failed runs left that the sensor has not seen; what goes wrong with that is no reason to import nothing."""
    try:
        found = quarantine_recent_failures(context.instance, clients, look_back=RECENTLY)
    except Exception as error:
        context.log.error(f"failed runs were not looked through: {type(error).__name__}")
        return
    for ref in found:
        context.log.info(f"a failed run left {ref}")


def _of_tick(context: Context, tasks: Sequence[Task], settings: Settings) -> list[Task]:
    """Return the tasks of a tick: without paused accounts, except that each is asked once a day.

    Of an audience without a chain, a paused account is asked for its number of contacts: another schedule syncs it in
    full, which leaves paused accounts out.
    """
    rule, now = settings.pause_rule, time.time()
    paused = paused_accounts(context.instance, settings)
    found, left_out = list[Task](), set[str]()
    for task in tasks:
        account, request = paused.get(account_label(task.client)), task.request
        if account is None or not isinstance(request, ChangesRequest):
            found.append(task)
        elif rule.leaves_out(account, now=now):
            left_out.add(task.name.client)
        else:
            counted = replace(request.retry.windows, wanted=frozenset[str]())
            found.append(replace(task, request=replace(request, newcomers=counted)))
    if left_out:
        context.log.info(f"paused, and asked once a day only: {shortened(sorted(left_out), _MAX_NAMED)}")
    return found


def _tasks(clients: Clients, config: SelectionConfig, request: Request) -> list[Task]:
    if not clients.clients:
        raise dg.Failure("there are no clients to import: see the warnings above", metadata={}, allow_retries=False)
    try:
        selection = clients.select(config.clients, config.audiences)
    except SelectionUnknown as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    return [Task(client=client, audience=audience, request=request) for client, audience in selection]
