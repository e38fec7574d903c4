"""Checks whether clients can be imported, without changing anything.

Holds the requests and their order. Stays out: the judgement of what they find (`findings.py`), and showing it.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from importer_pipeline.checking.connections import open_account, open_target, patiently
from importer_pipeline.checking.findings import (
    CheckedAudience,
    CheckedClient,
    Finding,
    tag_findings,
    uses_merge_tags,
    with_account_findings,
)
from importer_pipeline.clients.client import Audience, Client
from importer_pipeline.errors import ImporterError, ListNotFound, RecordRefused, SecretMissing, TryAgain
from importer_pipeline.mailchimp.client import MailchimpClient
from importer_pipeline.mailchimp.directory import read_account, read_list_details, read_merge_fields
from importer_pipeline.redaction import shown
from importer_pipeline.target.declaration import PythonEntry
from importer_pipeline.target.protocol import Target

MAX_THREADS = 150
"""Accounts that are checked at once. Each gets one request at a time: its ten connections may be in use."""

MAX_PROBES_PER_TARGET = 25
"""Requests in flight to one target URL."""

_UNREACHED = "check that it is up, its URL, and the proxies and firewalls between; then try again"
"""The remedy where an error of a sync has none but to wait: here a person can look."""


def check_clients(
    clients: Sequence[Client],
    *,
    open_account: Callable[[Client], MailchimpClient] = open_account,
    open_target: Callable[[Client], Target] = open_target,
) -> list[CheckedClient]:
    """Check clients, all accounts at once; return what was found in the order of the clients.

    Args:
        clients: the clients.
        open_account: connects a client's Mailchimp account; by default with the timeouts of a person who waits.
        open_target: connects a client's account at the target; likewise.
    """
    connect = _Connections(account=open_account, target=open_target)
    slots = {client.target.url: threading.Semaphore(MAX_PROBES_PER_TARGET) for client in clients}
    accounts: dict[str, list[Client]] = defaultdict(list)
    for client in clients:
        accounts[client.account].append(client)

    def check_account(sharing: Sequence[Client]) -> list[CheckedClient]:
        return [_check(client, connect, slots[client.target.url]) for client in sharing]

    with ThreadPoolExecutor(max_workers=min(MAX_THREADS, max(len(accounts), 1))) as pool:
        checked = {it.name: it for found in pool.map(check_account, accounts.values()) for it in found}
    return with_account_findings([checked[client.name] for client in clients])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Connections:
    account: Callable[[Client], MailchimpClient]
    target: Callable[[Client], Target]


def _check(client: Client, connect: _Connections, slot: threading.Semaphore) -> CheckedClient:
    findings = list(_exposures(client))
    account_id, audiences = "", list[CheckedAudience]()
    try:
        account = connect.account(client)
        try:
            account_id = patiently(lambda: read_account(account)).account_id
            for audience in client.audiences:
                audiences += _check_audience(account, audience, findings)
        finally:
            account.close()
    except ImporterError as error:
        findings.append(Finding(where="mailchimp", problem=error.problem, remedy=_remedy(error)))
    with slot:
        findings += _check_target(client, connect)
    return CheckedClient(
        name=client.name, account=client.account, account_id=account_id, audiences=tuple(audiences),
        findings=tuple(findings),
    )  # fmt: skip


def _exposures(client: Client) -> Iterator[Finding]:
    for where, secret in client.exposed_secrets():
        problem, _, remedy = secret.exposure.rpartition(": ")
        yield Finding(where=where, problem=problem, remedy=remedy, is_problem=False)


def _check_audience(account: MailchimpClient, audience: Audience, findings: list[Finding]) -> list[CheckedAudience]:
    try:
        details = patiently(lambda: read_list_details(account, audience.list_id))
    except ListNotFound as error:
        where = f"audiences.{audience.name}.list_id"
        findings.append(Finding(where=where, problem=error.problem, remedy=error.remedy))
        return []
    mapping = audience.record_mapping()
    if uses_merge_tags(mapping):
        fields = patiently(lambda: read_merge_fields(account, audience.list_id))
        findings += tag_findings(audience.name, mapping, [field.tag for field in fields])
    return [CheckedAudience(name=audience.name, list_name=details.name, subscribed=details.subscribed)]


def _check_target(client: Client, connect: _Connections) -> Iterator[Finding]:
    """Post an empty list to the target, which stores nothing."""
    try:
        target = connect.target(client)
        try:
            patiently(target.probe)
        finally:
            target.close()
    except RecordRefused as error:
        yield Finding(
            where="target",
            problem=f"the target is there, but refuses an empty list (HTTP {error.status}), so that its key and its "
            "answer to records can't be checked without sending one",
            remedy="",
            is_problem=False,
        )
    except SecretMissing as error:
        yield Finding(where="target.api_key", problem=error.problem, remedy=error.remedy)
    except ImporterError as error:
        problem = f"{error.problem} ({_probe_of(client)})"
        yield Finding(where="target", problem=problem, remedy=_remedy(error))


def _remedy(error: ImporterError) -> str:
    return error.remedy or (_UNREACHED if isinstance(error, TryAgain) else "")


def _probe_of(client: Client) -> str:
    """Return the request that checks a client's target, in words."""
    url, declaration = shown(client.target.url, max_characters=200), client.target.declaration()
    if declaration is None:
        return f"POST {url}/record, an empty list"
    if isinstance(declaration, PythonEntry):
        return f"check of {declaration.entry_point}"
    if declaration.check is not None:
        return f"{declaration.check.method} {url}{declaration.check.path}"
    return f"{declaration.request.method} {url}{declaration.request.path}, without records"
