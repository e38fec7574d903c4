"""From declared audiences to a sync that runs: secrets are read, connections made, the engine and its threads started.

Knows nothing of Dagster: `defs` turns what comes out of it into events.
"""

import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from importer_pipeline.audience_sync import AudiencePlan
from importer_pipeline.clients import Audience, Client, Clients
from importer_pipeline.connections import PROCESS
from importer_pipeline.errors import SecretMissing
from importer_pipeline.locks import AccountLocks
from importer_pipeline.mailchimp import OAUTH_METADATA_URL, Account, MailchimpLimits
from importer_pipeline.outcomes import AudienceDone, Outcome, Progress
from importer_pipeline.services import SyncLimits
from importer_pipeline.sync import Sync
from importer_pipeline.target import Target, TargetLimits
from importer_pipeline.windows import BEGINNING, Paging
from importer_pipeline.workers import Lines, Workers


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSettings:
    """How an import goes about it, the same for all clients."""

    paging: Paging = field(default_factory=Paging)
    """How audiences are cut into windows."""
    limits: SyncLimits = field(default_factory=SyncLimits)
    """How much at once, and how long."""
    mailchimp: MailchimpLimits = field(default_factory=MailchimpLimits)
    """Patience with Mailchimp."""
    target: TargetLimits = field(default_factory=TargetLimits)
    """Patience with the targets."""
    oauth_metadata_url: str = OAUTH_METADATA_URL
    """Who tells the data centre of an OAuth token."""


Selection = Sequence[tuple[Client, Audience]]
"""Audiences, each with its client."""


class Turns:
    """The imports of a selection one after the other: first of the audiences whose accounts are free, then of the others.

    No turn waits for an account while it holds another: what is busy has its turn when the others have had theirs.

    Args:
        selection: the audiences.
        clients: all clients, for what those on one Mailchimp account share.
        settings: how to go about it.
        locks: one sync at a time per account.
    """

    def __init__(
        self, selection: Selection, *, clients: Clients, settings: ImportSettings, locks: AccountLocks
    ) -> None:
        self.waiting = list(selection)
        self._clients = clients
        self._settings = settings
        self._locks = locks

    def next(self) -> "Import | None":
        """The import of what is free now, or None where another sync has all the accounts that are still to come."""
        free = self._locks.take({account_identity(client) for client, _ in self.waiting})
        now = [(client, audience) for client, audience in self.waiting if account_identity(client) in free]
        if not now:
            return None
        self.waiting = [entry for entry in self.waiting if entry not in now]
        return Import(now, clients=self._clients, settings=self._settings, locks=self._locks)


class Import:
    """One import of some audiences, whose accounts are locked.

    Args:
        selection: the audiences.
        clients: all clients, for what those on one Mailchimp account share.
        settings: how to go about it.
        locks: holds the accounts' locks; each is released as soon as all of the account's audiences are done.
    """

    def __init__(
        self, selection: Selection, *, clients: Clients, settings: ImportSettings, locks: AccountLocks
    ) -> None:
        self._clients = clients
        self._settings = settings
        self._locks = locks
        self._account_of = {(client.name, audience.name): account_identity(client) for client, audience in selection}
        self._open = Counter(self._account_of.values())
        self._accounts: dict[str, Account] = {}
        self._targets: dict[str, Target] = {}
        self._not_started: list[Outcome] = []
        plans: list[AudiencePlan] = []
        lines: dict[tuple[str, str], Lines] = {}
        for client, audience in selection:
            try:
                lines[client.name, audience.name] = self._lines(client, audience)
            except SecretMissing as error:
                self._not_started.append(_without_secret(client, audience, error))
            else:
                plans.append(self._plan(client, audience))
        self._sync = Sync(
            plans,
            paging=settings.paging,
            limits=settings.limits,
            book=PROCESS,
            rng=random.Random(),
            epoch_offset_seconds=time.time() - time.monotonic(),
        )
        self._workers = Workers(self._sync, lines)

    @property
    def progress(self) -> Progress:
        """How far it is now."""
        progress = self._workers.progress
        return replace(progress, audiences=progress.audiences + len(self._not_started))

    def run(self) -> Iterator[list[Outcome]]:
        """Import everything; see `Workers.run`. The first outcomes are the clients that can't be started."""
        try:
            for outcomes in chain([self._not_started], self._workers.run()):
                yield outcomes
                self._release_what_is_done(outcomes)
        finally:
            self._locks.release_all()
            for line in (*self._accounts.values(), *self._targets.values()):
                line.close()

    def _release_what_is_done(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            if isinstance(outcome, AudienceDone):
                account = self._account_of[outcome.client, outcome.audience]
                self._open[account] -= 1
                if not self._open[account]:
                    self._locks.release(account)

    def _lines(self, client: Client, audience: Audience) -> Lines:
        if client.name not in self._targets:
            settings = client.mailchimp
            account = Account(
                settings.credentials(),
                base_url=settings.base_url,
                limits=self._settings.mailchimp,
                oauth_metadata_url=self._settings.oauth_metadata_url,
            )
            key = client.target.api_key.read()
            self._targets[client.name] = Target(client.target.url, key, limits=self._settings.target)
            self._accounts[client.name] = account
        return Lines(
            account=self._accounts[client.name],
            list_id=audience.list_id,
            mapping=audience.record_mapping(),
            target=self._targets[client.name],
        )

    def _plan(self, client: Client, audience: Audience) -> AudiencePlan:
        return AudiencePlan(
            client=client.name,
            audience=audience.name,
            account=client.account,
            account_connections=self._clients.max_connections(client.account),
            target=client.target.url,
            since=BEGINNING,
        )


def account_identity(client: Client) -> str:
    """What tells a Mailchimp account from all others, as far as the clients file tells: its name, and where it is."""
    return f"{client.mailchimp.base_url or ''} {client.account}"


def _without_secret(client: Client, audience: Audience, error: SecretMissing) -> AudienceDone:
    return AudienceDone(
        client=client.name,
        audience=audience.name,
        snapshot=None,
        windows=0,
        failed=(),
        read=0,
        accepted=0,
        refused=0,
        requests=0,
        elapsed_seconds=0.0,
        lacking=(),
        error=error,
    )
