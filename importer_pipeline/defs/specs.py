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
    return _spec(
        client,
        audience,
        contacts_key(AudienceName(client.name, audience.name)),
        description=(
            f"All contacts of the Mailchimp audience {audience.list_id}, archived ones too, at the client's target. "
            "Materializing it is a full sync: it takes a snapshot, or goes on with an unfinished one. "
            "Materialized when every window of the snapshot is imported, by whichever runs."
        ),
    )


def windows_spec(client: Client, audience: Audience) -> dg.AssetSpec:
    """`contact_windows`: the windows of the audience's newest snapshot."""
    name = AudienceName(client.name, audience.name)
    return _spec(
        client,
        audience,
        windows_key(name),
        description=(
            f"The windows of the newest snapshot of the Mailchimp audience {audience.list_id}: pages of up to 1000 contacts, "
            "by their place in the snapshot; `archived-0` and on are those of the archived contacts. A full sync reports "
            "each here as it comes in. Any of them can be imported by hand; `plan_windows` registers those of a new snapshot."
        ),
        partitions=windows_partitions(name),
    )


def changes_spec(client: Client, audience: Audience) -> dg.AssetSpec:
    """`contact_changes`: the contacts of the audience that changed in an hour."""
    return _spec(
        client,
        audience,
        changes_key(AudienceName(client.name, audience.name)),
        description=(
            f"The contacts of the Mailchimp audience {audience.list_id} that changed in an hour (UTC), archived ones too, at "
            "the client's target. `incremental_sync` brings in all hours since the last one without a gap; any of them can be "
            "imported again by hand."
        ),
    )


def _spec(
    client: Client,
    audience: Audience,
    key: dg.AssetKey,
    *,
    description: str,
    partitions: dg.PartitionsDefinition | None = None,
) -> dg.AssetSpec:
    """Return the spec of one asset of an audience, with all that its assets have in common."""
    return dg.AssetSpec(
        key,
        description=description,
        partitions_def=partitions,
        group_name=group_name(client.name),
        owners=[client.owner] if client.owner else None,
        kinds=KINDS,
        tags={"client": client.name, "audience": audience.name},
        metadata=_metadata(client, audience),
        skippable=True,
    )


def _metadata(client: Client, audience: Audience) -> dict[str, dg.MetadataValue]:
    return {
        "mailchimp": dg.MetadataValue.url(MAILCHIMP_AUDIENCES_URL),
        "mailchimp_list_id": dg.MetadataValue.text(audience.list_id),
        "target": dg.MetadataValue.url(client.target.url),
        "record": dg.MetadataValue.json(audience.record.model_dump()),
    }
