"""How an import reaches the APIs: functions that connect a client, and the counts of connections.

They are handed in, so that whoever starts an import decides what it calls. Stays out: what is requested (`workers`).
"""

from collections.abc import Callable
from dataclasses import dataclass

from importer_pipeline.clients.collection import Client
from importer_pipeline.engine.concurrency import LimiterRegistry
from importer_pipeline.mailchimp.client import OAUTH_METADATA_URL, MailchimpClient, MailchimpLimits
from importer_pipeline.target.client import TargetClient, TargetLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiClients:
    """Connects clients to Mailchimp and their targets. What it connects is closed by whoever asked for it."""

    mailchimp: Callable[[Client], MailchimpClient]
    """Returns a new API client for a client's Mailchimp account; raises SecretMissing without a usable secret."""
    target: Callable[[Client], TargetClient]
    """Returns a new API client for a client's account at the target; raises SecretMissing without a usable key."""
    limiters: LimiterRegistry
    """The counts of connections, shared with all else that calls the same accounts and targets."""


def connect_mailchimp(
    client: Client, *, limits: MailchimpLimits, oauth_metadata_url: str = OAUTH_METADATA_URL
) -> MailchimpClient:
    """Return an API client for a client's Mailchimp account, as declared.

    Args:
        client: the client.
        limits: timeouts and size limits.
        oauth_metadata_url: where to ask for the data centre of an OAuth token.

    Raises:
        SecretMissing: the key or token is absent, or malformed.
    """
    settings = client.mailchimp
    return MailchimpClient(
        settings.credentials(), base_url=settings.base_url, limits=limits, oauth_metadata_url=oauth_metadata_url
    )


def connect_target(client: Client, *, limits: TargetLimits) -> TargetClient:
    """Return an API client for a client's account at the target, as declared.

    Raises:
        SecretMissing: the key is absent, or malformed.
    """
    return TargetClient(client.target.url, client.target.api_key.read(), limits=limits)
