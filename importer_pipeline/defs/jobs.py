"""The jobs. They plan nothing beforehand and report what they did, so that a run may take any audiences."""

import dagster as dg
from pydantic import Field

from importer_pipeline.clients import Clients
from importer_pipeline.defs.assets import RESUME_WITHIN_HOURS
from importer_pipeline.defs.names import POOL
from importer_pipeline.defs.reporting import run_import
from importer_pipeline.defs.resources import MailchimpResource, TargetResource, import_settings
from importer_pipeline.defs.sign_of_life import SignOfLife
from importer_pipeline.errors import SelectionUnknown
from importer_pipeline.importing import Task
from importer_pipeline.resuming import ResumeRule


class SnapshotConfig(dg.Config):
    """Which audiences to take, all without a choice, and whether to go on with their unfinished snapshots."""

    clients: list[str] = Field(default=[], description="Names of clients, all of whose audiences are taken.")
    audiences: list[str] = Field(default=[], description="Single audiences, as client/audience.")
    restart: bool = Field(default=False, description="Take new snapshots, also where one is unfinished.")
    resume_within_hours: float = Field(
        default=RESUME_WITHIN_HOURS, ge=0, description="Age up to which an unfinished snapshot is gone on with."
    )

    @property
    def rule(self) -> ResumeRule:
        """Which snapshots are gone on with."""
        return ResumeRule(within_seconds=self.resume_within_hours * 3600, restart=self.restart)


def full_sync_job(clients: Clients) -> dg.JobDefinition:
    """`full_sync`: a snapshot of each audience is taken and imported, or an unfinished one gone on with."""

    @dg.op(pool=POOL, out=dg.Out(dg.Nothing))
    def import_contacts(
        context: dg.OpExecutionContext,
        config: SnapshotConfig,
        mailchimp: MailchimpResource,
        target: TargetResource,
        sign_of_life: dg.ResourceParam[SignOfLife],
    ) -> None:
        """Take a snapshot of each audience, or go on with an unfinished one, and bring its contacts to the target."""
        run_import(
            context,
            _tasks(clients, config, wanted=None),
            clients=clients,
            settings=import_settings(mailchimp, target),
            rule=config.rule,
        )

    @dg.job(
        name="full_sync",
        description=(
            "Imports all contacts of each audience: takes a snapshot, or goes on with the unfinished one. "
            "Its windows show live under contact_windows."
        ),
        executor_def=dg.in_process_executor,
    )
    def full_sync() -> None:
        import_contacts()

    return full_sync


def plan_windows_job(clients: Clients) -> dg.JobDefinition:
    """`plan_windows`: a snapshot of each audience is taken and its windows are registered; nothing is imported."""

    @dg.op(pool=POOL, out=dg.Out(dg.Nothing))
    def register_windows(
        context: dg.OpExecutionContext,
        config: SnapshotConfig,
        mailchimp: MailchimpResource,
        target: TargetResource,
        sign_of_life: dg.ResourceParam[SignOfLife],
    ) -> None:
        """Take a snapshot of each audience that has no unfinished one, and register its windows."""
        run_import(
            context,
            _tasks(clients, config, wanted=frozenset()),
            clients=clients,
            settings=import_settings(mailchimp, target),
            rule=config.rule,
        )

    @dg.job(
        name="plan_windows",
        description=(
            "Takes a snapshot of each audience and registers its windows as partitions of contact_windows, to be launched "
            "by hand. Imports nothing. An unfinished snapshot is kept, unless `restart` is set."
        ),
        executor_def=dg.in_process_executor,
    )
    def plan_windows() -> None:
        register_windows()

    return plan_windows


def _tasks(clients: Clients, config: SnapshotConfig, *, wanted: frozenset[str] | None) -> list[Task]:
    if not clients.clients:
        raise dg.Failure("there are no clients to import: see the warnings above", metadata={}, allow_retries=False)
    try:
        selection = clients.select(config.clients, config.audiences)
    except SelectionUnknown as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    return [Task(client=client, audience=audience, wanted=wanted) for client, audience in selection]
