"""Everything put together: `build_defs` for any clients, and `defs` for those of the environment."""

from dagster import Definitions, get_dagster_logger, in_process_executor

from importer_pipeline.clients import Clients, clients_from_environment
from importer_pipeline.defs.assets import contacts_assets
from importer_pipeline.defs.jobs import full_sync_job
from importer_pipeline.defs.resources import MailchimpResource, TargetResource


def build_defs(clients: Clients) -> Definitions:
    """The definitions for these clients. What is wrong with some of them is logged, and the others go on."""
    log = get_dagster_logger()
    for problem in clients.problems:
        log.warning(problem)
    for client in clients.clients:
        for problem in client.secret_problems():
            log.warning(problem)
    return Definitions(
        assets=[contacts_assets(clients)] if clients.clients else [],
        jobs=[full_sync_job(clients)],
        resources={"mailchimp": MailchimpResource(), "target": TargetResource()},
        executor=in_process_executor,
    )


defs = build_defs(clients_from_environment())
