"""The meaning of Mailchimp's answers other than 200, and of no answer.

Holds the tables by status and by fault, and decides which answers are Mailchimp's own. Stays out: the bodies of good
answers (`mailchimp/client.py`). No text of an answer is quoted: a problem's `detail` may contain an address.

A refusal counts as Mailchimp's only with its problem document: a proxy, a firewall or an edge may answer 4xx as well,
for a minute or for one name, and knows nothing about keys, lists and members.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from importer_pipeline.errors import (
    BrokenAnswer,
    ConnectionUnusable,
    ImporterError,
    KeyRefused,
    ListNotFound,
    RequestRefused,
    TooManyRequests,
    TooSlow,
    TurnedAway,
    Unavailable,
)
from importer_pipeline.http.faults import Fault, with_variable
from importer_pipeline.http.json_bodies import small_document
from importer_pipeline.http.wire import Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """The error, problem and remedy for a status or a fault.

    Attributes:
        error: its class says what the caller must do.
        problem: what was expected and seen.
        remedy: what a person can do; empty if all they can do is wait.
    """

    error: type[ImporterError]
    problem: str
    remedy: str = ""


_BLOCKED = Meaning(
    error=TurnedAway,
    problem="Mailchimp's network blocks this machine's address",
    remedy="if it persists, ask Mailchimp support to unblock the address, or spread the clients over more addresses",
)
_IN_BETWEEN = Meaning(
    error=TurnedAway,
    problem="expected Mailchimp's problem document, got an answer from something in between",
    remedy="if it persists, check mailchimp.base_url, and the proxies and firewalls between here and Mailchimp",
)
_REDIRECT = Meaning(
    error=TurnedAway,
    problem="expected an answer from Mailchimp, got a redirect, which is not followed: it would send the key elsewhere",
    remedy="if it persists, check mailchimp.base_url, and the proxies and firewalls between here and Mailchimp",
)
_WAIT = Meaning(error=TooManyRequests, problem="Mailchimp can't answer now, and says when to retry")

BY_STATUS: Mapping[int, Meaning] = {
    401: Meaning(
        error=KeyRefused,
        problem="Mailchimp refuses the key: it is wrong or revoked, or belongs to another data centre",
        remedy="check the client's mailchimp secret, and its base_url if it has one",
    ),
    404: Meaning(
        error=ListNotFound,
        problem="Mailchimp has no such list in this account",
        remedy="check the audience's list_id, which account the client's key belongs to, and mailchimp.base_url, if the "
        "client has one: it ends in /3.0",
    ),
    408: Meaning(error=Unavailable, problem="Mailchimp waited too long for the request"),
    429: Meaning(
        error=TooManyRequests,
        problem="all ten connections of the Mailchimp account are in use",
        remedy="check which other tools use the account, or lower max_connections of this client",
    ),
    504: Meaning(error=TooSlow, problem="Mailchimp did not finish the request in time"),
}
"""Statuses with a meaning of their own; for 403 and 503 more than the status decides."""

BY_CLASS: Mapping[int, Meaning] = {
    1: Meaning(error=BrokenAnswer, problem="expected an answer from Mailchimp, got an interim response"),
    2: Meaning(error=BrokenAnswer, problem="expected HTTP 200 from Mailchimp, got another 2xx status"),
    3: _REDIRECT,
    4: Meaning(error=RequestRefused, problem="Mailchimp refuses the request", remedy="report this line"),
    5: Meaning(error=Unavailable, problem="Mailchimp can't answer now"),
}
"""All other statuses, by their hundreds."""

_UNKNOWN_STATUS = Meaning(
    error=BrokenAnswer, problem="expected an answer from Mailchimp, got a status that HTTP does not have"
)

# The titles of Mailchimp's 403 problems (D; "User Disabled" was seen with a space, V), in lower case without spaces.
_FORBIDDEN = {
    "userdisabled": "the account or its user is disabled",
    "forbidden": "the key's user may not read audiences",
    "wrongdatacenter": "the key belongs to another data centre",
    "apikeyinvalid": "the key is wrong or revoked",
}


def status_error(answer: Answer) -> ImporterError:
    """Return the error for an answer that is not 200, whatever was requested."""
    meaning = _meaning(answer)
    problem = f"{meaning.problem} (HTTP {answer.status})"
    if meaning.error is TooManyRequests:
        wait = answer.retry_after_seconds(time.time())
        return TooManyRequests(problem, retry_after_seconds=wait, remedy=meaning.remedy)
    return meaning.error(problem, remedy=meaning.remedy)


def proves_absence(answer: Answer) -> bool:
    """Return whether Mailchimp itself says that what was requested does not exist."""
    return answer.status == 404 and _problem(answer) is not None


def _meaning(answer: Answer) -> Meaning:
    status, problem = answer.status, _problem(answer)
    if small_document(answer.body).get("type") == "akamai_error_message":  # Seen with 503 (V): the address is blocked.
        return _BLOCKED
    if status == 403:
        return _BLOCKED if problem is None else _forbidden(problem)
    if 400 <= status < 500 and status != 429 and problem is None:
        return _IN_BETWEEN
    if status == 503 and answer.header("retry-after") is not None:
        return _WAIT
    return BY_STATUS.get(status) or BY_CLASS.get(status // 100, _UNKNOWN_STATUS)


def _forbidden(problem: Mapping[str, Any]) -> Meaning:
    title = str(problem.get("title", "")).replace(" ", "").lower()
    reason = _FORBIDDEN.get(title, "the account is disabled, or the key's user may not read audiences")
    return Meaning(
        error=KeyRefused,
        problem=f"Mailchimp refuses the key: {reason}",
        remedy="ask the client to check the account, and the role of the key's user",
    )


def _problem(answer: Answer) -> Mapping[str, Any] | None:
    """Return the problem document of an answer (D), whatever its content type; None if it has none."""
    found = small_document(answer.body)
    texts = all(isinstance(found.get(name), str) for name in ("type", "title", "detail"))
    return found if texts and found.get("status") == answer.status else None


BY_FAULT: Mapping[Fault, Meaning] = {
    fault: Meaning(error=error, problem=f"no answer from Mailchimp: {fault.value}", remedy=remedy)
    for fault, error, remedy in (
        (Fault.NAME_UNKNOWN, Unavailable, "check the data centre of the key, or mailchimp.base_url"),
        (Fault.UNREACHABLE, Unavailable, ""),
        (Fault.TLS, Unavailable, "check the proxies and firewalls between this machine and Mailchimp"),
        (Fault.UNTRUSTED, ConnectionUnusable, "check this machine's clock and certificates"),
        (Fault.BUNDLE, ConnectionUnusable, "check this machine's certificates"),
        (Fault.PROXY, Unavailable, "check the proxy in this machine's environment"),
        (Fault.PROXY_UNUSABLE, ConnectionUnusable, "check the proxy in this machine's environment"),
        (Fault.SLOW, TooSlow, ""),
        (Fault.HUNG_UP, Unavailable, ""),
        (Fault.CUT, BrokenAnswer, ""),
        (Fault.TOO_LARGE, BrokenAnswer, ""),
        (Fault.UNSENDABLE, ConnectionUnusable, "check mailchimp.base_url"),
        (Fault.UNFORESEEN, Unavailable, ""),
    )
}
"""No answer, or no complete one."""


def fault_error(fault: Fault, variable: str = "") -> ImporterError:
    """Return the error for a fault between here and Mailchimp.

    Args:
        fault: why there is no answer.
        variable: the environment variable involved; "" for none.
    """
    meaning = BY_FAULT[fault]
    return meaning.error(meaning.problem, remedy=with_variable(meaning.remedy, variable))
