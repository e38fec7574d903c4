"""Turns declared audiences into a running sync: connects its clients, starts the engine and its threads.

Knows nothing of Dagster: `defs` turns its outcomes into events, and earlier events into a `History`.
"""

import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from types import TracebackType
from typing import Self

from importer_pipeline.clients.client import account_identity
from importer_pipeline.clients.collection import Audience, Client, Clients, fingerprint
from importer_pipeline.engine.audience_plan import AudiencePlan, Scope
from importer_pipeline.engine.outcomes import (
    AudienceDone,
    FingerprintChanged,
    Outcome,
    Part,
    PartCounts,
    Progress,
    ReadTotals,
    RunCounts,
)
from importer_pipeline.engine.services import SyncLimits
from importer_pipeline.engine.sync import Sync
from importer_pipeline.errors import ImporterError, SecretMissing, SnapshotUnusable
from importer_pipeline.listing.coverage import Paging
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.locks.protocol import AccountLocks
from importer_pipeline.mailchimp.client import MailchimpClient
from importer_pipeline.planning.chain import View, chain_of
from importer_pipeline.planning.history import History
from importer_pipeline.planning.requests import AudienceRequest, ChangesRequest, FirstSyncRequest, HoursRequest, Request
from importer_pipeline.planning.resolver import Resolver
from importer_pipeline.runner.api_clients import ApiClients, target_rules
from importer_pipeline.runner.workers import AudienceEndpoints, Workers
from importer_pipeline.target.protocol import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSettings:
    """Settings of an import, the same for all clients."""

    paging: Paging = field(default_factory=Paging)
    """Page size and overlap of windows."""
    limits: SyncLimits = field(default_factory=SyncLimits)
    """Concurrency, retries and times."""
    oldest: int = 0
    """The first second of the first hour in view: see `settings.Settings.first_hour`."""

    def view(self, now: float) -> View:
        """Return which evidence of earlier runs counts at a moment, in epoch seconds."""
        return View(now=now, oldest=self.oldest, tolerance_seconds=self.limits.clock_tolerance_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One audience and the request for it."""

    client: Client
    audience: Audience
    request: Request

    @property
    def name(self) -> AudienceName:
        """Name of the audience."""
        return AudienceName(self.client.name, self.audience.name)

    @property
    def audience_request(self) -> AudienceRequest:
        """The request, with the audience's current fingerprint."""
        return AudienceRequest(
            name=self.name, fingerprint=fingerprint(self.client, self.audience), request=self.request
        )


class ImportQueue:
    """Runs the imports of some audiences one after another: those with free accounts first.

    No import waits for an account while it holds another: busy accounts come after the free ones.

    Args:
        tasks: the audiences and requests. Several of one audience run one after another, in order.
        clients: all clients, for what those on one Mailchimp account share.
        settings: of all imports. The time limit of a run applies to all of them together, from now on.
        apis: connects the clients to Mailchimp and their targets.
        locks: one sync at a time per account.

    Attributes:
        waiting: the tasks that have not been started.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        *,
        clients: Clients,
        settings: ImportSettings,
        apis: ApiClients,
        locks: AccountLocks,
    ) -> None:
        self.waiting = list(tasks)
        self._clients = clients
        self._settings = settings
        self._apis = apis
        self._locks = locks
        self._began_at = time.monotonic()

    @property
    def seconds_left(self) -> float:
        """Seconds that the run may still take."""
        return self._began_at + self._settings.limits.run_seconds - time.monotonic()

    def has_free_accounts(self) -> bool:
        """Return whether any account of the waiting tasks is free now, without keeping it."""
        free = self._locks.take(self._accounts())
        self._locks.release_all()
        return bool(free)

    def next(self, history: History) -> "Import | None":
        """Return an import of the tasks with free accounts; None if there are none.

        Args:
            history: read once the accounts are locked, so that no other run adds to it meanwhile.
        """
        self._drop_synced(history)
        if not self.waiting:
            return None
        free = self._locks.take(self._accounts())
        now: dict[AudienceName, Task] = {}
        later: list[Task] = []
        for task in self.waiting:
            if account_identity(task.client) in free and task.name not in now:
                now[task.name] = task
            else:
                later.append(task)
        if not now:
            return None
        try:
            running = Import(
                list(now.values()),
                clients=self._clients,
                settings=self._settings,
                apis=self._apis,
                locks=self._locks,
                history=history,
                began_at=self._began_at,
            )
        except BaseException:
            self._locks.release_all()
            raise
        self.waiting = [*later, *running.later]
        return running

    def _accounts(self) -> set[str]:
        return {account_identity(task.client) for task in self.waiting}

    def _drop_synced(self, history: History) -> None:
        """Drop the first syncs of audiences that already had one, without taking locks.

        Nothing else is decided without a lock: an audience without a chain is checked again under it.
        """
        first_syncs = [task.audience_request for task in self.waiting if isinstance(task.request, FirstSyncRequest)]
        view = self._settings.view(time.time())
        evidence = history.evidence([it.name for it in first_syncs], view) if first_syncs else {}
        synced = {
            it.name
            for it in first_syncs
            if chain_of(evidence[it.name], fingerprint=it.fingerprint, view=view) is not None
        }
        self.waiting = [
            task for task in self.waiting if not (isinstance(task.request, FirstSyncRequest) and task.name in synced)
        ]


class Import:
    """One import of audiences whose accounts are locked. A context manager, which releases everything.

    Args:
        tasks: the audiences.
        clients: all clients, for what those on one Mailchimp account share.
        settings: of the import.
        apis: connects the clients to Mailchimp and their targets.
        locks: holds the accounts' locks; each is released as soon as all of the account's audiences are done, and at
            once if there is nothing to do.
        history: what earlier runs recorded.
        began_at: when the run began, by the monotonic clock.

    Attributes:
        notes: lines for the log before it starts.
        later: tasks that follow from these, to run after the others.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        *,
        clients: Clients,
        settings: ImportSettings,
        apis: ApiClients,
        locks: AccountLocks,
        history: History,
        began_at: float,
    ) -> None:
        self.notes: list[str] = []
        self.later: list[Task] = []
        self._connections = clients.max_connections()
        self._settings = settings
        self._apis = apis
        self._locks = locks
        self._accounts: dict[str, MailchimpClient] = {}
        self._targets: dict[str, Target] = {}
        self._in_use: dict[str, list[MailchimpClient | Target]] = defaultdict(list)
        self._not_started: list[AudienceDone] = []
        self._changed: list[FingerprintChanged] = []
        plans: list[AudiencePlan] = []
        endpoints: dict[AudienceName, AudienceEndpoints] = {}
        requests = [task.audience_request for task in tasks]
        resolver = Resolver(requests, history, settings.view(time.time()))
        for task, request in zip(tasks, requests, strict=True):
            try:
                audience_endpoints = self._endpoints_of(task.client, task.audience)
                resolved = resolver.resolve(request)
            except (SecretMissing, SnapshotUnusable) as error:
                self._not_started.append(_not_started(task, error))
                continue
            if resolved.note:
                self.notes.append(resolved.note)
            self.later += [replace(task, request=later) for later in resolved.later]
            if resolved.changes_form:
                self._changed.append(FingerprintChanged(name=task.name, fingerprint=request.fingerprint))
            if resolved.scope is not None:
                endpoints[task.name] = audience_endpoints
                plans.append(self._plan(task, request.fingerprint, resolved.scope, resolver.quarantined(request)))
        to_report = {*endpoints, *(outcome.name for outcome in self._not_started)}
        self._account_of = {task.name: account_identity(task.client) for task in tasks if task.name in to_report}
        self._open = Counter(self._account_of.values())
        for account in {account_identity(task.client) for task in tasks} - self._open.keys():
            self._close(account)
            locks.release(account)
        self._sync = Sync(
            plans,
            paging=settings.paging,
            limits=settings.limits,
            limiters=apis.limiters,
            rng=random.Random(),
            epoch_offset_seconds=time.time() - time.monotonic(),
            began_at=began_at,
        )
        self._workers = Workers(self._sync, endpoints, locks.check)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._workers.end()
        for account in list(self._in_use):
            self._close(account)
        self._locks.release_all()

    @property
    def progress(self) -> Progress:
        """Counts for the log line."""
        progress = self._workers.progress
        return replace(progress, audiences=progress.audiences + len(self._not_started))

    def take_silent_hosts(self) -> list[str]:
        """Return a line for each host that has not answered for the first time since the last call."""
        return self._workers.take_silent_hosts()

    def run(self) -> Iterator[list[Outcome]]:
        """Import everything; see `Workers.run`.

        The first outcomes are audiences that cannot be started, and changed fingerprints.
        """
        first: list[Outcome] = [*self._not_started, *self._changed]
        for outcomes in chain([first], self._workers.run()):
            yield outcomes
            self._release_what_is_done(outcomes)

    def leave(self, *, timeout_seconds: float) -> list[Outcome]:
        """Start nothing new, wait for the requests in flight, and return their outcomes.

        Args:
            timeout_seconds: how long to wait for them.
        """
        return self._workers.leave(timeout_seconds=timeout_seconds)

    def _release_what_is_done(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            if isinstance(outcome, AudienceDone):
                account = self._account_of[outcome.name]
                self._open[account] -= 1
                if not self._open[account]:
                    self._close(account)
                    self._locks.release(account)

    def _close(self, account: str) -> None:
        """Close the connections of an account: the process may open few files at once."""
        for api_client in self._in_use.pop(account, ()):
            api_client.close()

    def _endpoints_of(self, client: Client, audience: Audience) -> AudienceEndpoints:
        if client.name not in self._targets:
            account, target = self._apis.mailchimp(client), self._apis.target(client)
            self._accounts[client.name], self._targets[client.name] = account, target
            self._in_use[account_identity(client)] += [account, target]
        return AudienceEndpoints(
            account=self._accounts[client.name],
            list_id=audience.list_id,
            mapping=audience.record_mapping(),
            target=self._targets[client.name],
        )

    def _plan(self, task: Task, fingerprint: str, scope: Scope, quarantined: frozenset[str]) -> AudiencePlan:
        return AudiencePlan(
            name=task.name,
            account=task.client.account,
            account_connections=self._connections[task.client.account],
            target=task.client.target.url,
            fingerprint=fingerprint,
            scope=scope,
            quarantined=quarantined,
            target_rules=target_rules(task.client),
        )


def _not_started(task: Task, error: ImporterError) -> AudienceDone:
    return AudienceDone(
        name=task.name,
        part=Part.HOUR if isinstance(task.request, HoursRequest | ChangesRequest) else Part.WINDOW,
        snapshot=None,
        parts=PartCounts(),
        is_proved=False,
        totals=ReadTotals(),
        run=RunCounts(),
        lacking=(),
        error=error,
    )
