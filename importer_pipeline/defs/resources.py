"""The resources that a run's config can set: how to treat Mailchimp and the targets. Who the clients are is `Clients`."""

import math
from datetime import UTC, datetime

import dagster as dg
from pydantic import Field

from importer_pipeline.defs.settings import settings_from_environment
from importer_pipeline.engine.services import SyncLimits
from importer_pipeline.listing.coverage import Paging
from importer_pipeline.mailchimp.client import OAUTH_METADATA_URL, MailchimpLimits
from importer_pipeline.runner.importing import ImportSettings
from importer_pipeline.target.client import TargetLimits


class MailchimpResource(dg.ConfigurableResource):  # pyright: ignore[reportMissingTypeArgument]
    """Limits of reading from Mailchimp, the same for all accounts."""

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


class TargetResource(dg.ConfigurableResource):  # pyright: ignore[reportMissingTypeArgument]
    """Limits of posting to the targets, the same for all."""

    max_posts: int = Field(default=10, ge=1, description="Maximum number of posts in flight to each target URL.")
    read_timeout_seconds: float = Field(default=60.0, gt=0, description="How long to wait for an answer.")
    answer_timeout_seconds: float = Field(
        default=TargetLimits().answer_timeout_seconds,
        gt=0,
        description="How long a whole answer may take, from connecting to its last byte, though bytes keep coming.",
    )


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
        mailchimp=MailchimpLimits(
            read_timeout_seconds=mailchimp.read_timeout_seconds,
            answer_timeout_seconds=mailchimp.answer_timeout_seconds,
        ),
        target=TargetLimits(
            read_timeout_seconds=target.read_timeout_seconds,
            answer_timeout_seconds=target.answer_timeout_seconds,
            connections=target.max_posts,
        ),
        oauth_metadata_url=mailchimp.oauth_metadata_url,
        oldest=int(settings.first_hour(datetime.now(UTC)).timestamp()),
    )
