"""The assets of all audiences. One multi-asset holds a spec for each, since a thousand single assets load six times slower.

The steps log each materialization themselves when it is due, and yield none: yielding thousands from one step takes time that
grows with their square.
"""

from collections.abc import Iterator

import dagster as dg

from importer_pipeline.clients.collection import Clients
from importer_pipeline.defs.import_step import run_import
from importer_pipeline.defs.names import CONTACT_CHANGES, CONTACT_WINDOWS, CONTACTS, POOL, audience_label
from importer_pipeline.defs.resources import MailchimpResource, TargetResource, import_settings
from importer_pipeline.defs.run_liveness import RunLiveness
from importer_pipeline.defs.specs import changes_spec, contacts_spec, windows_spec
from importer_pipeline.listing.coverage import TimeRange
from importer_pipeline.listing.hours import parse_hour_key
from importer_pipeline.planning.requests import HoursRequest, Request, WindowsRequest
from importer_pipeline.planning.resuming import ResumeRule
from importer_pipeline.runner.importing import ImportSettings, Task

RESUME_WITHIN_HOURS = 24.0
"""Age up to which an unfinished snapshot is gone on with."""

RESUME_RULE = ResumeRule(within_seconds=RESUME_WITHIN_HOURS * 3600, restart=False)
"""Where nobody says otherwise."""


def contacts_assets(clients: Clients) -> dg.AssetsDefinition:
    """`contacts` of every audience: a full sync of those that are selected."""

    @dg.multi_asset(
        name=CONTACTS,
        specs=[contacts_spec(client, audience) for client, audience in clients.select([], [])],
        can_subset=True,
        pool=POOL,
    )
    # A generator without a result: of a function, Dagster wants a value for each output, and materializes a single one again.
    def contacts(
        context: dg.AssetExecutionContext,
        mailchimp: MailchimpResource,
        target: TargetResource,
        sign_of_life: dg.ResourceParam[RunLiveness],
    ) -> Iterator[dg.Output[None]]:
        _import_selected(
            context, clients, import_settings(mailchimp, target), WindowsRequest(wanted=None, rule=RESUME_RULE)
        )
        yield from ()

    return contacts


def windows_assets(clients: Clients) -> dg.AssetsDefinition:
    """`contact_windows` of every audience: the windows of its newest snapshot, each a partition."""

    @dg.multi_asset(
        name=CONTACT_WINDOWS,
        specs=[windows_spec(client, audience) for client, audience in clients.select([], [])],
        can_subset=True,
        pool=POOL,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def contact_windows(
        context: dg.AssetExecutionContext,
        mailchimp: MailchimpResource,
        target: TargetResource,
        sign_of_life: dg.ResourceParam[RunLiveness],
    ) -> Iterator[dg.Output[None]]:
        request = WindowsRequest(wanted=frozenset(context.partition_keys), rule=RESUME_RULE)
        _import_selected(context, clients, import_settings(mailchimp, target), request)
        yield from ()

    return contact_windows


def changes_assets(clients: Clients, hours: dg.HourlyPartitionsDefinition) -> dg.AssetsDefinition:
    """`contact_changes` of every audience: the contacts that changed in an hour, each hour a partition."""

    @dg.multi_asset(
        name=CONTACT_CHANGES,
        specs=[changes_spec(client, audience) for client, audience in clients.select([], [])],
        partitions_def=hours,
        can_subset=True,
        pool=POOL,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def contact_changes(
        context: dg.AssetExecutionContext,
        mailchimp: MailchimpResource,
        target: TargetResource,
        sign_of_life: dg.ResourceParam[RunLiveness],
    ) -> Iterator[dg.Output[None]]:
        found = [hour for key in context.partition_keys if (hour := parse_hour_key(key)) is not None]
        request = HoursRequest(hours=TimeRange(min(found).first, max(found).last))
        _import_selected(context, clients, import_settings(mailchimp, target), request)
        yield from ()

    return contact_changes


def _import_selected(
    context: dg.AssetExecutionContext, clients: Clients, settings: ImportSettings, request: Request
) -> None:
    """Do the same with each of the audiences whose asset is selected."""
    labels = [audience_label(key) for key in sorted(context.selected_asset_keys)]
    run_import(
        context,
        [Task(client=client, audience=audience, request=request) for client, audience in clients.select([], labels)],
        clients=clients,
        settings=settings,
    )
