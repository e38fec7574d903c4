"""How clients and audiences are called in Dagster: made and parsed here only."""

import dagster as dg

CONTACTS = "contacts"
"""Last part of the key of an audience's full sync."""

POOL = "mailchimp"
"""The pool that every step which calls Mailchimp takes a place in."""


def contacts_key(client: str, audience: str) -> dg.AssetKey:
    """The asset of an audience's full sync."""
    return dg.AssetKey([client, audience, CONTACTS])


def group_name(client: str) -> str:
    """A client's asset group; Dagster has no `-` in these names."""
    return client.replace("-", "_")


def audience_label(key: dg.AssetKey) -> str:
    """The audience that an asset belongs to, as `client/audience`."""
    return "/".join(key.path[:2])
