"""The resources `mailchimp` and `target`: they connect clients to the two APIs, and a run's config sets how.

Every connection of this process to an account or a target is counted here, whichever run or asset uses it: Dagster makes
the resources of each run from scratch, so the counts belong to the module, and only the resources hand them out.
"""

import math
from datetime import UTC, datetime

import dagster as dg
from pydantic import Field

from importer_pipeline.clients.collection import Client, Clients
from importer_pipeline.defs.settings import settings_from_environment
from importer_pipeline.engine.concurrency import LimiterRegistry
from importer_pipeline.engine.services import SyncLimits
from importer_pipeline.listing.coverage import Paging
from importer_pipeline.mailchimp.client import OAUTH_METADATA_URL, MailchimpClient, MailchimpLimits
from importer_pipeline.runner.api_clients import ApiClients, connect_mailchimp, connect_target
from importer_pipeline.runner.importing import ImportSettings
from importer_pipeline.target.client import TargetClient, TargetLimits

_LIMITERS = LimiterRegistry()


class MailchimpResource(dg.ConfigurableResource):  # pyright: ignore[reportMissingTypeArgument]
    """Connects clients to Mailchimp, with limits that are the same for all accounts.

    To connect them in another way, bind a subclass under `mailchimp` that overrides `connect`: syncs use it, too.
    """

    clients: dg.ResourceDependency[Clients | None] = Field(default=None)
    """Whose accounts `client` finds by name, handed over and not configured; None for those of the environment."""

    max_connections: int = Field(
        default=100, ge=1, description="Maximum number of requests in flight, of all accounts together, in one process."
    )
    page_size: int = Field(default=1000, ge=30, le=1000, description="Contacts of a page: of a window.")
    retries: int = Field(default=3, ge=0, description="How often a request to Mailchimp or a target is tried again.")
    retry_pause_seconds: float = Field(
        default=5.0, gt=0, description="The rest before the first retry; each further one is twice as long."
    )
    read_timeout_seconds: float = Field(
        default=150.0,
        gt=0,
        description="How long to wait for an answer. Above 120: a request given up on holds its connection that long.",
    )
    answer_timeout_seconds: float = Field(
        default=MailchimpLimits().answer_timeout_seconds,
        gt=0,
        description="How long a whole answer may take, from connecting to its last byte, though bytes keep coming.",
    )
    stall_minutes: float = Field(
        default=15.0, gt=0, description="After how long without a good answer an audience is left to the next run."
    )
    oauth_metadata_url: str = Field(
        default=OAUTH_METADATA_URL, description="Who tells the data centre of an OAuth token."
    )

    def connect(self, client: Client) -> MailchimpClient:
        """Return a new API client for a client's Mailchimp account. It counts no connections: its caller does.

        Raises:
            SecretMissing: the key or token is absent, or malformed.
        """
        limits = MailchimpLimits(
            read_timeout_seconds=self.read_timeout_seconds, answer_timeout_seconds=self.answer_timeout_seconds
        )
        return connect_mailchimp(client, limits=limits, oauth_metadata_url=self.oauth_metadata_url)


class TargetResource(dg.ConfigurableResource):  # pyright: ignore[reportMissingTypeArgument]
    """Connects clients to their targets, with limits that are the same for all.

    To connect them in another way, bind a subclass under `target` that overrides `connect`: syncs use it, too.
    """

    clients: dg.ResourceDependency[Clients | None] = Field(default=None)
    """Whose targets `client` finds by name, handed over and not configured; None for those of the environment."""

    max_posts: int = Field(default=10, ge=1, description="Maximum number of posts in flight to each target URL.")
    read_timeout_seconds: float = Field(default=60.0, gt=0, description="How long to wait for an answer.")
    answer_timeout_seconds: float = Field(
        default=TargetLimits().answer_timeout_seconds,
        gt=0,
        description="How long a whole answer may take, from connecting to its last byte, though bytes keep coming.",
    )

    def connect(self, client: Client) -> TargetClient:
        """Return a new API client for a client's account at the target. It counts no connections: its caller does.

        Raises:
            SecretMissing: the key is absent, or malformed.
        """
        limits = TargetLimits(
            read_timeout_seconds=self.read_timeout_seconds,
            answer_timeout_seconds=self.answer_timeout_seconds,
            connections=self.max_posts,
        )
        return connect_target(client, limits=limits)


def api_clients(mailchimp: MailchimpResource, target: TargetResource) -> ApiClients:
    """Return what connects the clients of an import."""
    return ApiClients(mailchimp=mailchimp.connect, target=target.connect, limiters=_LIMITERS)


def import_settings(
    mailchimp: MailchimpResource, target: TargetResource, *, run_seconds: float = math.inf
) -> ImportSettings:
    """Return what the engine takes, from what a run's config may set, and the deployment's environment.

    Args:
        mailchimp: how Mailchimp is read.
        target: how the targets are written to.
        run_seconds: how long the run may take.
    """
    settings = settings_from_environment()
    return ImportSettings(
        paging=Paging(page_size=mailchimp.page_size),
        limits=SyncLimits(
            connections=mailchimp.max_connections,
            target_posts=target.max_posts,
            # No post is larger than a page, together or not: a target may bear no more.
            post_records=mailchimp.page_size,
            undelivered_pages=4 * target.max_posts,
            retries=mailchimp.retries,
            clock_tolerance_seconds=settings.clock_tolerance_minutes * 60,
            run_seconds=run_seconds,
            stall_seconds=mailchimp.stall_minutes * 60,
            first_pause_seconds=mailchimp.retry_pause_seconds,
        ),
        oldest=int(settings.first_hour(datetime.now(UTC)).timestamp()),
    )
