"""The target's API: records are posted in batches, and the answer says how many were accepted.

Holds the one request, and the meaning of a status, a body or a failed connection. Stays out: retries, finding a refused
record in its batch (`engine/posting.py`, `engine/delivery.py`), and the content of a record (`records/contacts.py`).
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any

from pydantic import SecretStr
from pydantic_core import to_json

from importer_pipeline.errors import (
    BrokenAnswer,
    ConnectionUnusable,
    ImporterError,
    RecordRefused,
    SecretMissing,
    TargetKeyRefused,
    TargetMisplaced,
    TooManyRequests,
    Unavailable,
)
from importer_pipeline.http.faults import Fault, with_variable
from importer_pipeline.http.hosts import host_of
from importer_pipeline.http.json_bodies import small_document
from importer_pipeline.http.wire import Adapter, Answer, Limits, Route, Wire
from importer_pipeline.records.contacts import Record
from importer_pipeline.records.receipt import Receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetLimits(Limits):
    """Timeouts and size limits for the target."""

    connect_timeout_seconds: float = 10.0
    read_timeout_seconds: float = 60.0
    answer_timeout_seconds: float = 120.0
    body_limit_bytes: int = 1024 * 1024
    connections: int = 10


class TargetClient:
    """One client's account at the target. Threads may share it.

    Args:
        url: records go to `POST <url>/record`.
        api_key: the Authorization header's value.
        limits: how long and how much an answer may take.
        adapter: what carries the requests; None for the network.

    Raises:
        SecretMissing: the key can't be a header's value.
    """

    def __init__(self, url: str, api_key: SecretStr, *, limits: TargetLimits, adapter: Adapter | None = None) -> None:
        self._url = url
        self._headers = {"Authorization": _header_value(api_key), "Content-Type": "application/json"}
        self._wire = Wire(limits=limits, error_of=fault_error, adapter=adapter)
        self._prepared: Route | None = None

    def __repr__(self) -> str:
        return f"Target(url={self._url!r})"

    @property
    def host(self) -> str:
        """The host of its URL, with the port if the URL names one."""
        return host_of(self._url)

    def post(self, records: Sequence[Record]) -> Receipt:
        """Send records; of several with the same id, the last. A stored record can be sent again: it is upserted.

        Raises:
            TryAgain: no complete answer came, and the batch may have been stored; or the target asks to wait.
            RecordRefused: a record of the batch is bad.
            TargetKeyRefused: the key is refused; or a record, by a firewall before the target that answers alike.
            TargetMisplaced: the URL is wrong; or a record is refused, as above.
        """
        unique = {record.id: record for record in records}
        if not unique:
            return Receipt(sent=0, accepted=0)
        return read_receipt(self._send(unique.values()), len(unique))

    def probe(self) -> Receipt:
        """Send an empty list, which stores nothing and holds no record that could be refused.

        Returns:
            the receipt of the empty list: the target is up, and accepts the key.

        Raises:
            TryAgain: the target has a problem, whatever is sent.
            RecordRefused: it is up and accepts the key, but no empty list.
            TargetKeyRefused: it refuses the key, whatever is sent.
            TargetMisplaced: the URL leads nowhere.
        """
        return read_probe(self._send([]))

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()

    def _send(self, records: Iterable[Record]) -> Answer:
        if self._prepared is None:
            self._prepared = self._wire.route("POST", self._url, self._headers)
        return self._wire.send(self._prepared, "/record", body=_json(records))


def read_receipt(answer: Answer, sent: int) -> Receipt:
    """Return the receipt in an answer to a batch of `sent` records; raise as `TargetClient.post` if there is none."""
    if not 200 <= answer.status < 300:
        raise _status_error(answer, _OF_BATCH.get(meaning_of(answer.status)))
    accepted = small_document(answer.body).get("response")
    if type(accepted) is not int or not 0 <= accepted <= sent:
        raise BrokenAnswer(
            f'expected {{"response": a number from 0 to {sent}}} from the target, '
            f"got something else (HTTP {answer.status})"
        )
    return Receipt(sent=sent, accepted=accepted)


def read_probe(answer: Answer) -> Receipt:
    """Return the receipt of an empty batch; raise as `TargetClient.probe`.

    A success without a number proves nothing: a target that always answers so accepts no contact at all.
    """
    if not 200 <= answer.status < 300:
        raise _status_error(answer)
    return read_receipt(answer, 0)


def _json(records: Any) -> bytes:
    return to_json(
        [
            {"id": contact_id, "firstname": firstname, "lastname": lastname, "email": email, "status": status}
            for contact_id, firstname, lastname, email, status in records
        ]
    )


def _header_value(api_key: SecretStr) -> str:
    value = api_key.get_secret_value()
    if not value or value != value.strip() or not value.isprintable() or any(ord(letter) > 255 for letter in value):
        raise SecretMissing(
            "the target's API key is empty, or contains characters that an HTTP header can't carry",
            remedy="check for a space, a line break or a quotation mark where it is stored",
        )
    return value


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


_KEY = Meaning(
    (Cause.KEY, Cause.CONTENT),
    "the target refuses the key",
    "check the client's target.api_key; if it is right, check whether a proxy or firewall refuses our requests",
)
_NOT_FOUND = Meaning((Cause.URL, Cause.CONTENT), "the target does not have this address", "check target.url")
_REDIRECT = Meaning(
    (Cause.URL, Cause.CONTENT),
    "the target answers with a redirect, which is not followed: it would send the key elsewhere",
    "set target.url to the address that it leads to",
)
_CONTENT = Meaning((Cause.CONTENT,), "the target refuses the batch")
_UNAVAILABLE = Meaning((Cause.TRANSIENT, Cause.CONTENT), "the target can't answer now")
_NO_RESULT = Meaning((Cause.TRANSIENT, Cause.CONTENT), "expected a success or an error from the target, got neither")

MEANINGS: Mapping[int, Meaning] = {
    401: _KEY,
    402: _KEY,
    403: _KEY,
    404: _NOT_FOUND,
    405: _NOT_FOUND,
    407: Meaning((Cause.TRANSIENT,), "the proxy requires a login", "check the proxy in this machine's environment"),
    408: Meaning((Cause.TRANSIENT, Cause.CONTENT), "the target waited too long for the batch"),
    410: _NOT_FOUND,
    429: Meaning((Cause.BUSY,), "the target is busy"),
}
"""The meanings of some statuses; all others mean what their class means (`MEANINGS_BY_CLASS`). A 503 with `Retry-After`
counts as a 429. No answer at all, and a success without a receipt, count as a 5xx."""

MEANINGS_BY_CLASS: Mapping[int, Meaning] = {3: _REDIRECT, 4: _CONTENT, 5: _UNAVAILABLE}
"""By the first digit. A status in neither table is no valid status of an answer."""


def meaning_of(status: int) -> Meaning:
    """Return the meaning of a status other than success."""
    return MEANINGS.get(status) or MEANINGS_BY_CLASS.get(status // 100, _NO_RESULT)


_OF_BATCH: Mapping[Meaning, str] = dict.fromkeys((_KEY, _NOT_FOUND, _REDIRECT), _CONTENT.problem)
"""The problem to report while the batch may be the cause, too. For an answer to an empty list it is not."""


def _status_error(answer: Answer, problem: str | None = None) -> ImporterError:
    """Return the error for an answer that is no success; the first of its causes decides."""
    meaning = meaning_of(answer.status)
    problem, remedy = f"{problem or meaning.problem} (HTTP {answer.status})", meaning.remedy
    retry_after_seconds = _retry_after_seconds(answer)
    if meaning.causes[0] is Cause.BUSY or (answer.status == 503 and retry_after_seconds is not None):
        return TooManyRequests(problem, retry_after_seconds=retry_after_seconds, remedy=remedy)
    match meaning.causes[0]:
        case Cause.KEY:
            return TargetKeyRefused(problem, remedy=remedy)
        case Cause.URL:
            return TargetMisplaced(problem, remedy=remedy)
        case Cause.CONTENT:
            return RecordRefused(problem, status=answer.status, remedy=remedy)
        case _:
            return (BrokenAnswer if meaning is _NO_RESULT else Unavailable)(problem, remedy=remedy)


def _retry_after_seconds(answer: Answer) -> float | None:
    """Return the wait that an answer asks for. A date is compared with the server's clock, which may not be ours."""
    return answer.retry_after_seconds(_epoch_seconds(answer.header("date")) or time.time())


def _epoch_seconds(date: str | None) -> float | None:
    try:
        return None if date is None else parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None


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
