"""What Dagster shows of an audience's assets: words, owners, groups, tags, and facts from the clients file, but no secret."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache

import dagster as dg

from importer_pipeline.clients.collection import Audience, Client, Clients
from importer_pipeline.defs.names import (
    changes_key,
    contacts_key,
    group_name,
    list_key,
    windows_key,
    windows_partitions,
)
from importer_pipeline.listing.snapshots import AudienceName

KINDS = {"mailchimp"}

_AUDIENCES_URL = "https://admin.mailchimp.com/audience/"

MAX_WITH_LINEAGE = 2000
"""Audiences of a code location up to which the lineage is shown: an edge is an input of an op, and three for each audience
make the definitions load half as long again. Ten thousand would take ten seconds longer."""

_UNIQUE = dg.TableColumnConstraints(nullable=False, unique=True)
_PRESENT = dg.TableColumnConstraints(nullable=False)


def list_specs(clients: Clients) -> list[dg.AssetSpec]:
    """Return the external assets that stand for the audiences' lists at Mailchimp; none of more than MAX_WITH_LINEAGE."""
    audiences = clients.select([], [])
    return [_list_spec(*it) for it in audiences] if len(audiences) <= MAX_WITH_LINEAGE else []


def audience_specs(
    clients: Clients, spec_of: Callable[[Client, Audience, Sequence[dg.AssetKey]], dg.AssetSpec]
) -> list[dg.AssetSpec]:
    """Return the specs of one kind of asset, downstream of the lists of `list_specs`."""
    audiences = clients.select([], [])
    if len(audiences) > MAX_WITH_LINEAGE:
        return [spec_of(*it, ()) for it in audiences]
    return [spec_of(*it, [list_key(AudienceName(it[0].name, it[1].name))]) for it in audiences]


def audiences_url(data_centre: str | None) -> str:
    """Return the page of an account's audiences in Mailchimp's own UI.

    The page of a single one needs an ID (`web_id`) that only Mailchimp's API tells.

    Args:
        data_centre: of the account, such as us6; None if it is unknown: Mailchimp then asks which account is meant.
    """
    return f"https://{data_centre}.admin.mailchimp.com/audience/" if data_centre else _AUDIENCES_URL


def contacts_spec(client: Client, audience: Audience, upstream: Sequence[dg.AssetKey]) -> dg.AssetSpec:
    """`contacts`: a full sync of the audience."""
    return _spec(
        client,
        audience,
        upstream,
        contacts_key(AudienceName(client.name, audience.name)),
        description=(
            f"All contacts of the Mailchimp audience {audience.list_id}, archived ones too, at the client's target. "
            "Materializing it is a full sync: it takes a snapshot, or goes on with an unfinished one. "
            "Materialized when every window of the snapshot is imported, by whichever runs."
        ),
        # Only here: with those of windows and hours, whose records are the same, all takes a tenth longer to load.
        columns={"dagster/column_schema": _columns(_sources(audience))},
    )


def windows_spec(client: Client, audience: Audience, upstream: Sequence[dg.AssetKey]) -> dg.AssetSpec:
    """`contact_windows`: the windows of the audience's newest snapshot."""
    name = AudienceName(client.name, audience.name)
    return _spec(
        client,
        audience,
        upstream,
        windows_key(name),
        description=(
            f"The windows of the newest snapshot of the Mailchimp audience {audience.list_id}: pages of up to 1000 contacts, "
            "by their place in the snapshot; `archived-0` and on are those of the archived contacts. A full sync reports "
            "each here as it comes in. Any of them can be imported by hand; `plan_windows` registers those of a new snapshot. "
            "In its metadata, `changed` says which changes it holds, and `covered` the same as epoch seconds, for later runs."
        ),
        partitions=windows_partitions(name),
    )


def changes_spec(client: Client, audience: Audience, upstream: Sequence[dg.AssetKey]) -> dg.AssetSpec:
    """`contact_changes`: the contacts of the audience that changed in an hour."""
    return _spec(
        client,
        audience,
        upstream,
        changes_key(AudienceName(client.name, audience.name)),
        description=(
            f"The contacts of the Mailchimp audience {audience.list_id} that changed in an hour (UTC), archived ones too, at "
            "the client's target. `incremental_sync` brings in all hours since the last one without a gap; any of them can be "
            "imported again by hand. Hours before the audience's first full sync stay missing, and nothing is missing in "
            "them: that sync has read what changed before it."
        ),
    )


def _spec(
    client: Client,
    audience: Audience,
    upstream: Sequence[dg.AssetKey],
    key: dg.AssetKey,
    *,
    description: str,
    partitions: dg.PartitionsDefinition | None = None,
    columns: Mapping[str, dg.TableSchemaMetadataValue] = {},
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
        deps=upstream,
        metadata={
            # Without the key's data centre: reading secrets from files three more times would delay the load.
            "mailchimp": dg.MetadataValue.url(audiences_url(client.mailchimp.data_centre_of_url)),
            "mailchimp_list_id": dg.MetadataValue.text(audience.list_id),
            "target": dg.MetadataValue.url(client.target.url),
            **columns,
        },
        skippable=True,
    )


def _list_spec(client: Client, audience: Audience) -> dg.AssetSpec:
    return dg.AssetSpec(
        list_key(AudienceName(client.name, audience.name)),
        description=f"The audience {audience.list_id} at Mailchimp, which the importer reads and never changes.",
        group_name=group_name(client.name),
        owners=[client.owner] if client.owner else None,
        kinds=KINDS,
        tags={"client": client.name, "audience": audience.name},
        metadata={
            "mailchimp": dg.MetadataValue.url(audiences_url(client.mailchimp.data_centre())),
            "mailchimp_list_id": dg.MetadataValue.text(audience.list_id),
        },
    )


def _sources(audience: Audience) -> tuple[tuple[str, str], ...]:
    if audience.is_shaped:
        return tuple((source.key, source.text) for source in audience.record_mapping().sources)
    return tuple(audience.record.model_dump().items())


@cache
def _columns(record: tuple[tuple[str, str], ...]) -> dg.TableSchemaMetadataValue:
    """Return the columns of a record at the target, given with their sources. Audiences with one mapping share them."""
    return dg.MetadataValue.table_schema(
        dg.TableSchema(
            columns=[
                dg.TableColumn(
                    name,
                    "string",
                    description=f"from {source}" if source else "always empty",
                    constraints=_UNIQUE if name == "id" else _PRESENT,
                )
                for name, source in record
            ]
        )
    )
