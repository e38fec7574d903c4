"""The assets of all audiences. One multi-asset holds a spec for each, since a thousand single assets load six times slower."""

from collections.abc import Iterator

import dagster as dg

from importer_pipeline.clients import Clients
from importer_pipeline.defs.names import CONTACTS, POOL, audience_label, contacts_key, group_name
from importer_pipeline.defs.reporting import run_import
from importer_pipeline.defs.resources import MailchimpResource, TargetResource, import_settings


def contacts_assets(clients: Clients) -> dg.AssetsDefinition:
    """`contacts` of every audience: a full sync of those that are selected.

    The step logs the materializations itself, each when it is due, and yields none: yielding thousands from one step takes
    time that grows with their square.
    """

    @dg.multi_asset(
        name=CONTACTS,
        specs=[
            dg.AssetSpec(
                contacts_key(client.name, audience.name),
                group_name=group_name(client.name),
                description=(
                    f"All contacts of Mailchimp's audience {audience.list_id}, archived ones too, at the client's target. "
                    "Materializing it is a full sync."
                ),
                owners=[client.owner] if client.owner else None,
                skippable=True,
            )
            for client in clients.clients
            for audience in client.audiences
        ],
        can_subset=True,
        pool=POOL,
    )
    # A generator without a result: of a function, Dagster wants a value for each output, and materializes a single one again.
    def contacts(
        context: dg.AssetExecutionContext, mailchimp: MailchimpResource, target: TargetResource
    ) -> Iterator[dg.Output[None]]:
        labels = [audience_label(key) for key in sorted(context.selected_asset_keys)]
        run_import(context, clients.select([], labels), clients=clients, settings=import_settings(mailchimp, target))
        yield from ()

    return contacts
