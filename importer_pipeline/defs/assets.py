"""The assets of all audiences. One multi-asset holds a spec for each, since a thousand single assets load six times slower.

The steps log each materialization themselves when it is due, and yield none: yielding thousands from one step takes time that
grows with their square.
"""

import dagster as dg

from importer_pipeline.clients.collection import Clients
from importer_pipeline.defs.import_step import run_import
from importer_pipeline.defs.names import CONTACT_CHANGES, CONTACT_WINDOWS, CONTACTS, audience_label
from importer_pipeline.defs.own_partitions import OwnPartitions
from importer_pipeline.defs.specs import audience_specs, changes_spec, contacts_spec, windows_spec
from importer_pipeline.defs.status import StatusReporter, import_and_report
from importer_pipeline.defs.status_events import up_to_date_spec
from importer_pipeline.defs.steps import StepResources, asset_step
from importer_pipeline.listing.coverage import TimeRange
from importer_pipeline.listing.hours import parse_hour_key
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.planning.requests import HoursRequest, Request, WindowsRequest
from importer_pipeline.planning.resuming import ResumeRule
from importer_pipeline.runner.importing import Task

RESUME_WITHIN_HOURS = 24.0
"""Maximum age of an unfinished snapshot to resume."""

RESUME_RULE = ResumeRule(within_seconds=RESUME_WITHIN_HOURS * 3600, restart=False)
"""The rule unless the run config sets another."""


def contacts_assets(clients: Clients, reporter: StatusReporter) -> dg.AssetsDefinition:
    """Return `contacts` of every audience: a full sync of those that are selected, and the checks of their state.

    A check by itself imports nothing.
    """

    def contacts(context: dg.AssetExecutionContext, resources: StepResources) -> None:
        labels = {audience_label(key) for key in context.selected_asset_keys}
        planned = {audience_label(key.asset_key) for key in context.selected_asset_check_keys}
        tasks = [
            Task(client=client, audience=audience, request=WindowsRequest(wanted=None, rule=RESUME_RULE))
            for client, audience in clients.select([], sorted(labels | planned))
        ]
        import_and_report(
            context,
            [task for task in tasks if str(task.name) in labels],
            reporter,
            clients=clients,
            settings=resources.settings(),
            apis=resources.apis,
            planned=[task.name for task in tasks if str(task.name) in planned],
        )

    audiences = clients.select([], [])
    return asset_step(
        CONTACTS,
        audience_specs(clients, contacts_spec),
        contacts,
        checks=[up_to_date_spec(AudienceName(client.name, audience.name)) for client, audience in audiences],
    )


def windows_assets(clients: Clients) -> dg.AssetsDefinition:
    """Return `contact_windows` of every audience: the windows of its newest snapshot, each a partition."""

    def contact_windows(context: dg.AssetExecutionContext, resources: StepResources) -> None:
        request = WindowsRequest(wanted=frozenset(context.partition_keys), rule=RESUME_RULE)
        _import_selected(context, clients, resources, request)

    return OwnPartitions.of(
        asset_step(
            CONTACT_WINDOWS,
            audience_specs(clients, windows_spec),
            contact_windows,
            backfill=dg.BackfillPolicy.single_run(),
        )
    )


def changes_assets(clients: Clients, hours: dg.HourlyPartitionsDefinition) -> dg.AssetsDefinition:
    """Return `contact_changes` of every audience: the contacts that changed in an hour, each hour a partition."""

    def contact_changes(context: dg.AssetExecutionContext, resources: StepResources) -> None:
        found = [hour for key in context.partition_keys if (hour := parse_hour_key(key)) is not None]
        request = HoursRequest(hours=TimeRange(min(found).first, max(found).last))
        _import_selected(context, clients, resources, request)

    return asset_step(
        CONTACT_CHANGES,
        audience_specs(clients, changes_spec),
        contact_changes,
        partitions=hours,
        backfill=dg.BackfillPolicy.single_run(),
    )


def _import_selected(
    context: dg.AssetExecutionContext, clients: Clients, resources: StepResources, request: Request
) -> None:
    """Request the same for each audience whose asset is selected."""
    labels = [audience_label(key) for key in sorted(context.selected_asset_keys)]
    run_import(
        context,
        [Task(client=client, audience=audience, request=request) for client, audience in clients.select([], labels)],
        clients=clients,
        settings=resources.settings(),
        apis=resources.apis,
    )
