"""How an import reaches the APIs: functions that connect a client, and the counts of connections.

They are handed in, so that whoever starts an import decides what it calls. Stays out: what is requested (`workers`).
"""

from collections.abc import Callable
from dataclasses import dataclass

from importer_pipeline.clients.collection import Client
from importer_pipeline.engine.audience_plan import TargetRules
from importer_pipeline.engine.concurrency import LimiterRegistry
from importer_pipeline.mailchimp.client import OAUTH_METADATA_URL, MailchimpClient, MailchimpLimits
from importer_pipeline.target.client import TargetLimits
from importer_pipeline.target.opening import open_target
from importer_pipeline.target.protocol import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiClients:
    """Connects clients to Mailchimp and their targets. What it connects is closed by whoever asked for it."""

    mailchimp: Callable[[Client], MailchimpClient]
    """Returns a new API client for a client's Mailchimp account; raises SecretMissing without a usable secret."""
    target: Callable[[Client], Target]
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


def connect_target(client: Client, *, limits: TargetLimits) -> Target:
    """Return an API client for a client's account at the target, as declared.

    Raises:
        SecretMissing: the key is absent, or malformed.
    """
    settings = client.target
    return open_target(settings.url, settings.declaration(), settings.read_secrets(), limits=limits)


def target_rules(client: Client) -> TargetRules:
    """Return what a client's target allows, as declared."""
    settings = client.target
    return TargetRules(
        account=settings.account,
        batch_records=settings.batch_records,
        posts_at_once=settings.posts_at_once,
        posts_per_second=settings.limits.posts_per_second,
    )
