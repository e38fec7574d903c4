"""Everything put together: `build_defs` for any clients, and `defs` for those of the environment, or its shard of them."""

import gc
from collections.abc import Mapping
from datetime import UTC, datetime

from dagster import Definitions, HourlyPartitionsDefinition, get_dagster_logger

from importer_pipeline.clients.collection import Clients, clients_from_environment
from importer_pipeline.defs.alerts import client_alerts_sensor
from importer_pipeline.defs.assets import changes_assets, contacts_assets, windows_assets
from importer_pipeline.defs.client_checks import check_clients_job, clients_usable_check
from importer_pipeline.defs.console import in_process_executor
from importer_pipeline.defs.dead_runs import dead_runs_sensor
from importer_pipeline.defs.jobs import full_sync_job, incremental_sync_job, plan_windows_job, status_asset
from importer_pipeline.defs.pruning import prune_job
from importer_pipeline.defs.quarantine import failed_partitions_sensor, quarantine_asset, redrive_job
from importer_pipeline.defs.resources import MailchimpResource, TargetResource
from importer_pipeline.defs.run_liveness import sign_of_life
from importer_pipeline.defs.schedules import hourly_schedules, prune_schedule, stale_after
from importer_pipeline.defs.settings import Settings, settings_from_environment
from importer_pipeline.defs.specs import list_specs
from importer_pipeline.defs.status import StatusReporter


def build_defs(
    clients: Clients, settings: Settings | None = None, *, resources: Mapping[str, object] | None = None
) -> Definitions:
    """The definitions for these clients, or for a shard's share of them.

    What is wrong with some of them is logged, and the others go on.

    Args:
        clients: who is imported: all, whichever shard it is.
        settings: of the deployment; None for the defaults.
        resources: bound in place of ours, by key: a subclass of `MailchimpResource` under `mailchimp`, or other limits.

    Raises:
        SettingsInvalid: a setting that Dagster does not take.
    """
    settings = settings or Settings()
    shard = settings.shard
    own = clients.of_shard(shard)
    log = get_dagster_logger()
    for problem in clients.problems:
        log.warning(problem)
    for client in (clients if shard.is_first else own).clients:
        for problem in client.secret_problems():
            log.warning(problem)
    hours = HourlyPartitionsDefinition(start_date=settings.first_hour(datetime.now(UTC)), timezone="UTC")
    reporter = StatusReporter(own, settings)
    full_sync, incremental_sync = full_sync_job(own, settings, reporter), incremental_sync_job(shard)
    assets = [contacts_assets(own, reporter), windows_assets(own), changes_assets(own, hours)] if own.clients else []
    assets.append(status_asset(own, settings, reporter, stale_after=stale_after(settings)))
    jobs = [full_sync, incremental_sync, plan_windows_job(own), check_clients_job(shard)]
    sensors = [dead_runs_sensor, client_alerts_sensor(own, settings)]
    schedules = hourly_schedules(own, settings, changes=incremental_sync, full=full_sync)
    if shard.is_first:
        prune_history = prune_job(settings)
        schedules.append(prune_schedule(settings, prune_history))
        assets += [quarantine_asset(clients)] if clients.clients else []
        jobs += [redrive_job(clients), prune_history]
        sensors.append(failed_partitions_sensor(clients))
    return Definitions(
        assets=[*list_specs(own), *assets],
        asset_checks=[clients_usable_check(own, shard)],
        jobs=jobs,
        schedules=schedules,
        sensors=sensors,
        resources={
            "mailchimp": MailchimpResource(clients=clients),
            "target": TargetResource(clients=clients),
            "sign_of_life": sign_of_life,
            **(resources or {}),
        },
        executor=in_process_executor,
    )


def _load() -> Definitions:
    # What is made here is needed as long as the process lives. Scanning it for garbage takes a quarter of the load, and
    # of what Dagster makes of it.
    collects = gc.isenabled()
    gc.disable()
    try:
        return build_defs(clients_from_environment(), settings_from_environment())
    finally:
        gc.freeze()
        if collects:
            gc.enable()


def __getattr__(name: str) -> Definitions:
    # Made when first asked for, so that `build_defs` can be imported without loading the clients of the environment.
    if name != "defs":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = globals()["defs"] = _load()
    return made


def __dir__() -> list[str]:
    # Dagster takes what `dir` shows, which leaves out what `__getattr__` makes.
    return sorted({*globals(), "defs"})
