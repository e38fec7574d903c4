"""What it means when Mailchimp answers with something other than 200, or not at all.

Here: the tables by status and by fault. Stays out: the bodies of good answers (`mailchimp.py`). No text of an answer is
repeated: a problem's `detail` may hold an address.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from pydantic_core import from_json

from importer_pipeline.errors import (
    BrokenAnswer,
    ImporterError,
    KeyRefused,
    ListNotFound,
    RequestRefused,
    TooManyRequests,
    TooSlow,
    Unavailable,
)
from importer_pipeline.faults import Fault
from importer_pipeline.wire import Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What the caller must do, and what a person can.

    Attributes:
        error: by what the caller must do.
        problem: what was seen.
        remedy: what a person can do; empty where there is nothing to do but wait.
    """

    error: type[ImporterError]
    problem: str
    remedy: str = ""


_BLOCKED = Meaning(
    error=Unavailable,
    problem="Mailchimp's network turns this machine's address away",
    remedy="if it lasts, ask Mailchimp's support to unblock the address, or spread the clients over more addresses",
)

BY_STATUS: Mapping[int, Meaning] = {
    401: Meaning(
        error=KeyRefused,
        problem="Mailchimp refuses the key: it is wrong or revoked, or belongs to another data centre",
        remedy="check the client's mailchimp secret, and its base_url if it has one",
    ),
    404: Meaning(
        error=ListNotFound,
        problem="Mailchimp knows no such list in this account",
        remedy="check the audience's list_id, and whose account the client's key opens",
    ),
    407: Meaning(
        error=Unavailable, problem="the proxy wants a login", remedy="check the proxy in this machine's environment"
    ),
    408: Meaning(error=Unavailable, problem="Mailchimp waited too long for the request"),
    429: Meaning(error=TooManyRequests, problem="all ten connections of the Mailchimp account are taken"),
    504: Meaning(error=TooSlow, problem="Mailchimp did not manage the request in time"),
}
"""Statuses with a meaning of their own; 403 and 503 are told apart by their bodies."""

BY_CLASS: Mapping[int, Meaning] = {
    1: Meaning(error=BrokenAnswer, problem="expected an answer from Mailchimp, got an interim one"),
    2: Meaning(error=BrokenAnswer, problem="expected HTTP 200 from Mailchimp, got another success"),
    3: Meaning(
        error=RequestRefused,
        problem="Mailchimp answers with a redirect, which is not followed: it would carry the key elsewhere",
        remedy="check mailchimp.base_url, or what stands between here and Mailchimp",
    ),
    4: Meaning(error=RequestRefused, problem="Mailchimp refuses the request"),
    5: Meaning(error=Unavailable, problem="Mailchimp can't answer now"),
}
"""All other statuses, by their hundreds."""

_UNHEARD_OF = Meaning(error=BrokenAnswer, problem="expected an answer from Mailchimp, got a status that HTTP has not")

# The titles of Mailchimp's 403 problems (D; "User Disabled" was seen with a space, V), in lower case without spaces.
_FORBIDDEN = {
    "userdisabled": "the account or its user is disabled",
    "forbidden": "the key's user may not read audiences",
    "wrongdatacenter": "the key belongs to another data centre",
    "apikeyinvalid": "the key is wrong or revoked",
}


def status_error(answer: Answer) -> ImporterError:
    """The error for an answer that is not 200, whatever was asked for."""
    meaning = _meaning(answer)
    return meaning.error(f"{meaning.problem} (HTTP {answer.status})", remedy=meaning.remedy)


def _meaning(answer: Answer) -> Meaning:
    status = answer.status
    if status in (403, 503):
        problem = _problem(answer)
        if problem.get("type") == "akamai_error_message" or (status == 403 and not problem):
            return _BLOCKED  # With JSON (V) or without (U): it is about the address, not about the key.
        if status == 403:
            return _forbidden(problem)
    return BY_STATUS.get(status) or BY_CLASS.get(status // 100, _UNHEARD_OF)


def _forbidden(problem: Mapping[str, Any]) -> Meaning:
    title = str(problem.get("title", "")).replace(" ", "").lower()
    reason = _FORBIDDEN.get(title, "the account is disabled, or the key's user may not read audiences")
    return Meaning(
        error=KeyRefused,
        problem=f"Mailchimp refuses the key: {reason}",
        remedy="have the client look at the account, and at the role of the key's user",
    )


def _problem(answer: Answer) -> dict[str, Any]:
    """The problem document of an answer, or an empty one."""
    try:
        found = from_json(answer.body)
    except ValueError:
        return {}
    return cast(dict[str, Any], found) if isinstance(found, dict) else {}


BY_FAULT: Mapping[Fault, Meaning] = {
    fault: Meaning(error=error, problem=f"no answer from Mailchimp: {fault.value}", remedy=remedy)
    for fault, error, remedy in (
        (Fault.NAME_UNKNOWN, Unavailable, "the data centre of the key, or mailchimp.base_url, may be wrong"),
        (Fault.UNREACHABLE, Unavailable, ""),
        (
            Fault.TLS,
            Unavailable,
            "check this machine's clock and certificates, and what stands between it and Mailchimp",
        ),
        (Fault.PROXY, Unavailable, "check the proxy in this machine's environment"),
        (Fault.SLOW, TooSlow, ""),
        (Fault.HUNG_UP, Unavailable, ""),
        (Fault.CUT, BrokenAnswer, ""),
        (Fault.TOO_LARGE, BrokenAnswer, ""),
        (Fault.UNSENDABLE, RequestRefused, "check mailchimp.base_url"),
        (Fault.UNFORESEEN, Unavailable, ""),
    )
}
"""No answer at all, or none that is whole."""


def fault_error(fault: Fault) -> ImporterError:
    """The error for a fault between here and Mailchimp."""
    meaning = BY_FAULT[fault]
    return meaning.error(meaning.problem, remedy=meaning.remedy)
