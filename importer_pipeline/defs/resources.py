"""The resources `mailchimp` and `target`: they connect clients to the two APIs, and a run's config sets how.

Every connection of this process to an account or a target is counted here, whichever run or asset uses it: Dagster makes
the resources of each run from scratch, so the counts belong to the module, and only the resources hand them out.
"""

import math
from datetime import UTC, datetime

import dagster as dg
from pydantic import Field, PrivateAttr

from importer_pipeline.clients.collection import Audience, Client, Clients, clients_from_environment
from importer_pipeline.defs.settings import settings_from_environment
from importer_pipeline.engine.concurrency import LimiterRegistry, ThrottlePolicy, account_limiter
from importer_pipeline.engine.services import SyncLimits
from importer_pipeline.listing.coverage import Paging
from importer_pipeline.mailchimp.client import OAUTH_METADATA_URL, MailchimpClient, MailchimpLimits
from importer_pipeline.runner.api_clients import ApiClients, connect_mailchimp, connect_target, target_rules
from importer_pipeline.runner.importing import ImportSettings
from importer_pipeline.runner.limited_calls import LimitedCalls
from importer_pipeline.runner.mailchimp_reader import MailchimpReader
from importer_pipeline.runner.target_writer import TargetWriter
from importer_pipeline.target.client import TargetLimits
from importer_pipeline.target.protocol import Target

_LIMITERS = LimiterRegistry()

WAIT_SECONDS = 600.0
"""How long a request of one's own assets waits for a free connection. A page of a sync may take minutes."""


class MailchimpResource(dg.ConfigurableResource):  # pyright: ignore[reportMissingTypeArgument]
    """Connects clients to Mailchimp, with limits that are the same for all accounts.

    To connect them in another way, bind a subclass under `mailchimp` that overrides `connect`: syncs use it, too.
    """

    clients: dg.ResourceDependency[Clients | None] = None  # pyright: ignore[reportAssignmentType]
    """Whose accounts `client` finds by name, handed over and not configured; None for those of the environment."""
    _opened: list[MailchimpReader] = PrivateAttr(default_factory=list)

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

    def client(self, name: str, *, wait_seconds: float = WAIT_SECONDS) -> MailchimpReader:
        """Return a reader of a client's Mailchimp account, for assets of one's own. It is closed when the step ends.

        Its requests and those of all syncs in this process share the account's ten connections. It takes no lock of the
        account, so it reads beside a running sync; only syncs need the lock.

        Args:
            name: a client of the clients file, or one of its audiences as "client/audience".
            wait_seconds: how long a request waits for a free connection until it fails.

        Raises:
            SelectionUnknown: no such client or audience is declared and enabled.
            SecretMissing: the key or token is absent, or malformed.
        """
        clients = declared(self.clients)
        client, audience = selected(clients, name)
        connections = clients.max_connections()[client.account]
        calls = LimitedCalls(
            of=f"the Mailchimp account of {client.name}",
            limiters=[_LIMITERS.of(account_limiter(client.account), connections, throttling=ThrottlePolicy())],
            wait_seconds=wait_seconds,
            retries=self.retries,
            retry_pause_seconds=self.retry_pause_seconds,
        )
        reader = MailchimpReader(self.connect(client), calls, list_id=audience and audience.list_id)
        self._opened.append(reader)
        return reader

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Close the readers of a step."""
        for reader in self._opened:
            reader.close()


class TargetResource(dg.ConfigurableResource):  # pyright: ignore[reportMissingTypeArgument]
    """Connects clients to their targets, with limits that are the same for all.

    To connect them in another way, bind a subclass under `target` that overrides `connect`: syncs use it, too.
    """

    clients: dg.ResourceDependency[Clients | None] = None  # pyright: ignore[reportAssignmentType]
    """Whose targets `client` finds by name, handed over and not configured; None for those of the environment."""
    _opened: list[TargetWriter] = PrivateAttr(default_factory=list)

    max_posts: int = Field(default=10, ge=1, description="Maximum number of posts in flight to each target URL.")
    read_timeout_seconds: float = Field(default=60.0, gt=0, description="How long to wait for an answer.")
    answer_timeout_seconds: float = Field(
        default=TargetLimits().answer_timeout_seconds,
        gt=0,
        description="How long a whole answer may take, from connecting to its last byte, though bytes keep coming.",
    )

    def connect(self, client: Client) -> Target:
        """Return a new API client for a client's account at the target. It counts no connections: its caller does.

        Raises:
            SecretMissing: the key is absent, or malformed.
        """
        limits = TargetLimits(
            read_timeout_seconds=self.read_timeout_seconds,
            answer_timeout_seconds=self.answer_timeout_seconds,
        )
        return connect_target(client, limits=limits)

    def client(self, name: str, *, wait_seconds: float = WAIT_SECONDS) -> TargetWriter:
        """Return a writer to a client's target, for assets of one's own. It is closed when the step ends.

        Its posts and those of all syncs in this process share the `max_posts` of the target's URL. What it posts is not
        recorded, and the next sync of a contact overwrites it.

        Args:
            name: a client of the clients file.
            wait_seconds: how long a post waits for its turn until it fails.

        Raises:
            SelectionUnknown: no such client is declared and enabled.
            SecretMissing: the key is absent, or malformed.
        """
        client, _ = selected(declared(self.clients), name)
        rules = target_rules(client)
        retry = SyncLimits()
        calls = LimitedCalls(
            of=f"the target of {client.name}",
            limiters=_LIMITERS.of_target(
                client.target.url, client.name, rules, max_posts=self.max_posts, throttling=ThrottlePolicy()
            ),
            wait_seconds=wait_seconds,
            retries=retry.retries,
            retry_pause_seconds=retry.first_pause_seconds,
        )
        writer = TargetWriter(self.connect(client), calls, batch_records=rules.batch_records)
        self._opened.append(writer)
        return writer

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Close the writers of a step."""
        for writer in self._opened:
            writer.close()


def api_clients(mailchimp: MailchimpResource, target: TargetResource) -> ApiClients:
    """Return what connects the clients of an import."""
    return ApiClients(mailchimp=mailchimp.connect, target=target.connect, limiters=_LIMITERS)


def declared(clients: Clients | None) -> Clients:
    """Return the clients that a resource was made with, or those of the environment."""
    return clients_from_environment() if clients is None else clients


def selected(clients: Clients, name: str) -> tuple[Client, Audience | None]:
    """Return the client of a name; with its audience, if the name is like client/audience.

    Raises:
        SelectionUnknown: no such client or audience is declared and enabled.
    """
    is_audience = "/" in name
    (client, audience), *_ = clients.select([], [name]) if is_audience else clients.select([name], [])
    return client, audience if is_audience else None


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
