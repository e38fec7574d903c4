"""How clients and audiences are called in Dagster: made and parsed here only."""

import dagster as dg

from importer_pipeline.clients.shards import Shard
from importer_pipeline.listing.snapshots import AudienceName

MAILCHIMP_LIST = "mailchimp"
"""Last part of the key of an audience's list at Mailchimp, which its other assets are made of."""

CONTACTS = "contacts"
"""Last part of the key of an audience's full sync."""

CONTACT_WINDOWS = "contact_windows"
"""Last part of the key of the windows of an audience's snapshot."""

CONTACT_CHANGES = "contact_changes"
"""Last part of the key of an audience's changes by the hour."""

QUARANTINE_KEY = dg.AssetKey(["quarantine"])
"""The asset of what could not be imported."""

QUARANTINE_PARTITIONS = dg.DynamicPartitionsDefinition(name="quarantine")
"""A partition for each window or hour of which something is in the quarantine: see `outcomes.PartitionRef`."""

UP_TO_DATE = "up_to_date"
"""The check of each audience's `contacts`: its last import succeeded, and not too long ago."""

IMPORTER_GROUP = "importer"
"""The group of the assets that belong to no client."""

SHARD_TAG = "importer_pipeline/shard"
"""The tag of a run that says whose clients it takes: several shards have jobs of the same names."""

POOL = "mailchimp"
"""The pool that every step which calls Mailchimp takes a place in."""


def list_key(name: AudienceName) -> dg.AssetKey:
    """The asset that stands for an audience's list at Mailchimp; nothing materializes it."""
    return dg.AssetKey([name.client, name.audience, MAILCHIMP_LIST])


def contacts_key(name: AudienceName) -> dg.AssetKey:
    """The asset of an audience's full sync."""
    return dg.AssetKey([name.client, name.audience, CONTACTS])


def windows_key(name: AudienceName) -> dg.AssetKey:
    """The asset whose partitions are the windows of an audience's snapshot."""
    return dg.AssetKey([name.client, name.audience, CONTACT_WINDOWS])


def changes_key(name: AudienceName) -> dg.AssetKey:
    """The asset whose partitions are the hours in which contacts of an audience changed."""
    return dg.AssetKey([name.client, name.audience, CONTACT_CHANGES])


def status_key(shard: Shard) -> dg.AssetKey:
    """Return the key of the status asset of a shard."""
    return dg.AssetKey(["sync_status"] if shard.count == 1 else ["sync_status", str(shard.index)])


def up_to_date_key(name: AudienceName) -> dg.AssetCheckKey:
    """Return the key of the check that an audience is up to date."""
    return dg.AssetCheckKey(contacts_key(name), UP_TO_DATE)


def windows_partitions(name: AudienceName) -> dg.DynamicPartitionsDefinition:
    """The windows of an audience's snapshot. Which there are is registered when one is taken."""
    return dg.DynamicPartitionsDefinition(name=f"{name}/{CONTACT_WINDOWS}")


def group_name(client: str) -> str:
    """A client's asset group; Dagster has no `-` in these names."""
    return client.replace("-", "_")


def audience_label(key: dg.AssetKey) -> str:
    """The audience that an asset belongs to, as `client/audience`."""
    return "/".join(key.path[:2])
