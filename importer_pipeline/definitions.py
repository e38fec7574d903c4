"""Everything put together: `build_defs` for any clients, and `defs` for those of the environment."""

from dagster import Definitions, get_dagster_logger, in_process_executor

from importer_pipeline.clients import Clients, clients_from_environment
from importer_pipeline.defs.assets import contacts_assets, windows_assets
from importer_pipeline.defs.dead_runs import dead_runs_sensor
from importer_pipeline.defs.jobs import full_sync_job, plan_windows_job
from importer_pipeline.defs.resources import MailchimpResource, TargetResource
from importer_pipeline.defs.sign_of_life import sign_of_life


def build_defs(clients: Clients) -> Definitions:
    """The definitions for these clients. What is wrong with some of them is logged, and the others go on."""
    log = get_dagster_logger()
    for problem in clients.problems:
        log.warning(problem)
    for client in clients.clients:
        for problem in client.secret_problems():
            log.warning(problem)
    return Definitions(
        assets=[contacts_assets(clients), windows_assets(clients)] if clients.clients else [],
        jobs=[full_sync_job(clients), plan_windows_job(clients)],
        sensors=[dead_runs_sensor],
        resources={"mailchimp": MailchimpResource(), "target": TargetResource(), "sign_of_life": sign_of_life},
        executor=in_process_executor,
    )


defs = build_defs(clients_from_environment())
