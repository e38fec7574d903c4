"""The meaning of a status or a missing answer of any target: its causes, the error, the remedy. Pure.

Stays out: receipts (see `client` and `answers`).
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum

from importer_pipeline.errors import (
    BrokenAnswer,
    ConnectionUnusable,
    ImporterError,
    RecordRefused,
    TargetKeyRefused,
    TargetMisplaced,
    TooManyRequests,
    Unavailable,
)
from importer_pipeline.http.faults import Fault, with_variable
from importer_pipeline.http.wire import Answer


class Cause(Enum):
    """A possible cause of an answer without a receipt; explained in `docs/guarantee.md`."""

    BUSY = "the target is busy: wait, then retry"
    KEY = "the key"
    URL = "target.url"
    CONTENT = "what was sent"
    TRANSIENT = "something temporary: retry"


@dataclass(frozen=True, slots=True)
class Meaning:
    """The meaning of a status."""

    causes: tuple[Cause, ...]
    """Its possible causes. If there are several, `engine.posting` finds out which."""
    problem: str
    """The problem, in words."""
    remedy: str = ""
    """The remedy, unless the cause is what was sent."""


KEY = Meaning(
    (Cause.KEY, Cause.CONTENT),
    "the target refuses the key",
    "check the client's target.api_key; if it is right, check whether a proxy or firewall refuses our requests",
)
NOT_FOUND = Meaning((Cause.URL, Cause.CONTENT), "the target does not have this address", "check target.url")
REDIRECT = Meaning(
    (Cause.URL, Cause.CONTENT),
    "the target answers with a redirect, which is not followed: it would send the key elsewhere",
    "set target.url to the address that it leads to",
)
CONTENT = Meaning((Cause.CONTENT,), "the target refuses the batch")
UNAVAILABLE = Meaning((Cause.TRANSIENT, Cause.CONTENT), "the target can't answer now")
NO_RESULT = Meaning((Cause.TRANSIENT, Cause.CONTENT), "expected a success or an error from the target, got neither")
BUSY = Meaning(
    (Cause.BUSY,),
    "the target is busy",
    "ask the target's operator for its rate limit, and lower max_posts of the resource target",
)

MEANINGS: Mapping[int, Meaning] = {
    401: KEY,
    402: KEY,
    403: KEY,
    404: NOT_FOUND,
    405: NOT_FOUND,
    407: Meaning((Cause.TRANSIENT,), "the proxy requires a login", "check the proxy in this machine's environment"),
    408: Meaning((Cause.TRANSIENT, Cause.CONTENT), "the target waited too long for the batch"),
    410: NOT_FOUND,
    429: BUSY,
}
"""The meanings of some statuses; all others mean what their class means (`MEANINGS_BY_CLASS`). A 503 with `Retry-After`
counts as a 429. No answer at all, and a success without a receipt, count as a 5xx."""

MEANINGS_BY_CLASS: Mapping[int, Meaning] = {3: REDIRECT, 4: CONTENT, 5: UNAVAILABLE}
"""By the first digit. A status in neither table is no valid status of an answer."""


def meaning_of(status: int) -> Meaning:
    """Return the meaning of a status other than success."""
    return MEANINGS.get(status) or MEANINGS_BY_CLASS.get(status // 100, NO_RESULT)


OF_BATCH: Mapping[Meaning, str] = dict.fromkeys((KEY, NOT_FOUND, REDIRECT), CONTENT.problem)
"""The problem to report while the batch may be the cause, too. For an answer to an empty list it is not."""


def status_error(answer: Answer, meaning: Meaning, problem: str | None = None) -> ImporterError:
    """Return the error for an answer that is no success; the first of its causes decides."""
    problem, remedy = f"{problem or meaning.problem} (HTTP {answer.status})", meaning.remedy
    wait_seconds = _retry_after_seconds(answer)
    if meaning.causes[0] is Cause.BUSY or (answer.status == 503 and wait_seconds is not None):
        return TooManyRequests(problem, retry_after_seconds=wait_seconds, remedy=remedy)
    match meaning.causes[0]:
        case Cause.KEY:
            return TargetKeyRefused(problem, remedy=remedy)
        case Cause.URL:
            return TargetMisplaced(problem, remedy=remedy)
        case Cause.CONTENT:
            return RecordRefused(problem, status=answer.status, remedy=remedy)
        case _:
            return (BrokenAnswer if meaning is NO_RESULT else Unavailable)(problem, remedy=remedy)


def _retry_after_seconds(answer: Answer) -> float | None:
    """Return the wait that an answer asks for. A date is compared with the server's clock, which may not be ours."""
    return answer.retry_after_seconds(server_seconds(answer))


def server_seconds(answer: Answer) -> float:
    """Return the time by the server's clock; by ours, if the answer does not say it."""
    try:
        date = answer.header("date")
        return time.time() if date is None else parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return time.time()


_TRANSPORT: Mapping[Fault, tuple[type[ImporterError], str]] = {
    Fault.NAME_UNKNOWN: (Unavailable, "check the host in target.url"),
    Fault.UNREACHABLE: (Unavailable, ""),
    Fault.TLS: (Unavailable, "check the proxies and firewalls between this machine and the target"),
    Fault.UNTRUSTED: (ConnectionUnusable, "check this machine's clock and certificates, and the target's"),
    Fault.BUNDLE: (ConnectionUnusable, "check this machine's certificates"),
    Fault.PROXY: (Unavailable, "check the proxy in this machine's environment"),
    Fault.PROXY_UNUSABLE: (ConnectionUnusable, "check the proxy in this machine's environment"),
    Fault.SLOW: (Unavailable, ""),
    Fault.HUNG_UP: (Unavailable, ""),
    Fault.CUT: (BrokenAnswer, ""),
    Fault.TOO_LARGE: (BrokenAnswer, ""),
    Fault.UNSENDABLE: (TargetMisplaced, "check target.url"),
    Fault.UNFORESEEN: (Unavailable, ""),
}


def fault_error(fault: Fault, variable: str = "") -> ImporterError:
    """Return the error for a fault between here and the target.

    Args:
        fault: why there is no answer.
        variable: the environment variable involved; "" for none.
    """
    kind, remedy = _TRANSPORT[fault]
    return kind(f"no answer from the target: {fault.value}", remedy=with_variable(remedy, variable))
