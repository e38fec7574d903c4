"""The jobs. They plan nothing beforehand and report what they did, so that a run may take any audiences."""

import dagster as dg
from pydantic import Field

from importer_pipeline.clients import Clients
from importer_pipeline.defs.names import POOL
from importer_pipeline.defs.reporting import run_import
from importer_pipeline.defs.resources import MailchimpResource, TargetResource, import_settings
from importer_pipeline.errors import SelectionUnknown


class FullSyncConfig(dg.Config):
    """Which audiences to take; without either, all."""

    clients: list[str] = Field(default=[], description="Names of clients, all of whose audiences are taken.")
    audiences: list[str] = Field(default=[], description="Single audiences, as client/audience.")


def full_sync_job(clients: Clients) -> dg.JobDefinition:
    """`full_sync`: a snapshot of each audience is taken and imported."""

    @dg.op(pool=POOL, out=dg.Out(dg.Nothing))
    def import_contacts(
        context: dg.OpExecutionContext, config: FullSyncConfig, mailchimp: MailchimpResource, target: TargetResource
    ) -> None:
        """Take a snapshot of each audience and bring all of its contacts to the target."""
        if not clients.clients:
            raise dg.Failure("there are no clients to import: see the warnings above", metadata={}, allow_retries=False)
        try:
            selection = clients.select(config.clients, config.audiences)
        except SelectionUnknown as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        run_import(context, selection, clients=clients, settings=import_settings(mailchimp, target))

    @dg.job(
        name="full_sync",
        description="Takes a snapshot of each audience and imports all of its contacts.",
        executor_def=dg.in_process_executor,
    )
    def full_sync() -> None:
        import_contacts()

    return full_sync
