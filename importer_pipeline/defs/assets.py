"""The assets of all audiences. One multi-asset holds a spec for each, since a thousand single assets load six times slower.

The steps log each materialization themselves when it is due, and yield none: yielding thousands from one step takes time that
grows with their square.
"""

from collections.abc import Iterator

import dagster as dg

from importer_pipeline.clients import Clients
from importer_pipeline.defs.names import CONTACT_WINDOWS, CONTACTS, POOL, audience_label
from importer_pipeline.defs.reporting import run_import
from importer_pipeline.defs.resources import MailchimpResource, TargetResource, import_settings
from importer_pipeline.defs.sign_of_life import SignOfLife
from importer_pipeline.defs.specs import contacts_spec, windows_spec
from importer_pipeline.importing import Task
from importer_pipeline.resuming import ResumeRule

RESUME_WITHIN_HOURS = 24.0
"""Age up to which an unfinished snapshot is gone on with."""


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
        sign_of_life: dg.ResourceParam[SignOfLife],
    ) -> Iterator[dg.Output[None]]:
        labels = [audience_label(key) for key in sorted(context.selected_asset_keys)]
        run_import(
            context,
            [Task(client=client, audience=audience, wanted=None) for client, audience in clients.select([], labels)],
            clients=clients,
            settings=import_settings(mailchimp, target),
            rule=ResumeRule(within_seconds=RESUME_WITHIN_HOURS * 3600, restart=False),
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
        sign_of_life: dg.ResourceParam[SignOfLife],
    ) -> Iterator[dg.Output[None]]:
        labels = [audience_label(key) for key in sorted(context.selected_asset_keys)]
        wanted = frozenset(context.partition_keys)
        run_import(
            context,
            [Task(client=client, audience=audience, wanted=wanted) for client, audience in clients.select([], labels)],
            clients=clients,
            settings=import_settings(mailchimp, target),
            rule=ResumeRule(within_seconds=RESUME_WITHIN_HOURS * 3600, restart=False),
        )
        yield from ()

    return contact_windows
