"""What Dagster shows of an audience's assets: words, owners, groups, tags, and facts from the clients file, but no secret."""

import dagster as dg

from importer_pipeline.clients.collection import Audience, Client
from importer_pipeline.defs.names import changes_key, contacts_key, group_name, windows_key, windows_partitions
from importer_pipeline.listing.snapshots import AudienceName

KINDS = {"mailchimp"}

MAILCHIMP_AUDIENCES_URL = "https://admin.mailchimp.com/audience/"
"""Where a person finds the audiences of an account. A page of one's own needs another id than that of the list."""


def contacts_spec(client: Client, audience: Audience) -> dg.AssetSpec:
    """`contacts`: a full sync of the audience."""
    name = AudienceName(client.name, audience.name)
    return dg.AssetSpec(
        contacts_key(name),
        description=(
            f"All contacts of the Mailchimp audience {audience.list_id}, archived ones too, at the client's target. "
            "Materializing it is a full sync: it takes a snapshot, or goes on with an unfinished one. "
            "Materialized when every window of the snapshot is in, whoever brought them in."
        ),
        group_name=group_name(client.name),
        owners=_owners(client),
        kinds=KINDS,
        tags=_tags(name),
        metadata=_metadata(client, audience),
        skippable=True,
    )


def windows_spec(client: Client, audience: Audience) -> dg.AssetSpec:
    """`contact_windows`: the windows of the audience's newest snapshot."""
    name = AudienceName(client.name, audience.name)
    return dg.AssetSpec(
        windows_key(name),
        description=(
            f"The windows of the newest snapshot of the Mailchimp audience {audience.list_id}: pages of up to 1000 contacts, "
            "by their place in the snapshot; `archived-0` and on are those of the archived contacts. A full sync reports "
            "each here as it comes in. Any of them can be imported by hand; `plan_windows` registers those of a new snapshot."
        ),
        partitions_def=windows_partitions(name),
        group_name=group_name(client.name),
        owners=_owners(client),
        kinds=KINDS,
        tags=_tags(name),
        metadata=_metadata(client, audience),
        skippable=True,
    )


def changes_spec(client: Client, audience: Audience) -> dg.AssetSpec:
    """`contact_changes`: the contacts of the audience that changed in an hour."""
    name = AudienceName(client.name, audience.name)
    return dg.AssetSpec(
        changes_key(name),
        description=(
            f"The contacts of the Mailchimp audience {audience.list_id} that changed in an hour (UTC), archived ones too, at "
            "the client's target. `incremental_sync` brings in all hours since the last one without a gap; any of them can be "
            "imported again by hand."
        ),
        group_name=group_name(client.name),
        owners=_owners(client),
        kinds=KINDS,
        tags=_tags(name),
        metadata=_metadata(client, audience),
        skippable=True,
    )


def _owners(client: Client) -> list[str] | None:
    return [client.owner] if client.owner else None


def _tags(name: AudienceName) -> dict[str, str]:
    return {"client": name.client, "audience": name.audience}


def _metadata(client: Client, audience: Audience) -> dict[str, dg.MetadataValue]:
    return {
        "mailchimp": dg.MetadataValue.url(MAILCHIMP_AUDIENCES_URL),
        "mailchimp_list_id": dg.MetadataValue.text(audience.list_id),
        "target": dg.MetadataValue.url(client.target.url),
        "record": dg.MetadataValue.json(audience.record.model_dump()),
    }
