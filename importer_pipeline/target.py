"""The target's API: records are posted in batches, and the answer tells how many were accepted.

Here: the one request, and what a status, a body or a failed connection of the target's means. Stays out: tries, finding
a refused record in its batch (`delivery.py`), and what a record is made of (`contacts.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from pydantic import SecretStr
from pydantic_core import from_json, to_json
from requests.adapters import BaseAdapter

from importer_pipeline.contacts import Record
from importer_pipeline.errors import (
    BrokenAnswer,
    ImporterError,
    RecordRefused,
    SecretMissing,
    TargetKeyRefused,
    TargetMisplaced,
    Unavailable,
)
from importer_pipeline.faults import Fault
from importer_pipeline.wire import Answer, Limits, Route, Wire


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetLimits(Limits):
    """Patience with the target."""

    connect_timeout_seconds: float = 10.0
    read_timeout_seconds: float = 60.0
    answer_timeout_seconds: float = 120.0
    body_limit_bytes: int = 1024 * 1024
    connections: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of a batch.

    Attributes:
        sent: how many records went out, each id once.
        accepted: how many of them the target took.
    """

    sent: int
    accepted: int

    @property
    def complete(self) -> bool:
        """Whether no record was refused."""
        return self.accepted == self.sent


class Target:
    """One client's account at the target. Threads may share it.

    Args:
        url: records go to `POST <url>/record`.
        api_key: the Authorization header's value.
        limits: how long and how much an answer may take.
        adapter: what carries the requests; None for the network.

    Raises:
        SecretMissing: the key can't be a header's value.
    """

    def __init__(
        self, url: str, api_key: SecretStr, *, limits: TargetLimits, adapter: BaseAdapter | None = None
    ) -> None:
        self._url = url
        self._headers = {"Authorization": _header_value(api_key), "Content-Type": "application/json"}
        self._wire = Wire(limits=limits, error_of=fault_error, adapter=adapter)
        self._prepared: Route | None = None

    def __repr__(self) -> str:
        return f"Target(url={self._url!r})"

    def post(self, records: Sequence[Record]) -> Receipt:
        """Send records; of those with one id the last. Sending again what was stored already is harmless: it upserts.

        Raises:
            TryAgain: no whole answer came; the batch may have been stored.
            RecordRefused: a record of the batch is bad.
            TargetKeyRefused: the key is.
            TargetMisplaced: the URL is.
        """
        unique = {record.id: record for record in records}
        if not unique:
            return Receipt(sent=0, accepted=0)
        if self._prepared is None:
            self._prepared = self._wire.route("POST", self._url, self._headers)
        answer = self._wire.send(self._prepared, "/record", body=_json(unique.values()))
        return read_receipt(answer, len(unique))

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()


def read_receipt(answer: Answer, sent: int) -> Receipt:
    """The receipt that an answer to a batch of `sent` records holds; raises as `Target.post` if it holds none."""
    if not 200 <= answer.status < 300:
        raise _status_error(answer.status)
    try:
        parsed = from_json(answer.body)
    except ValueError:
        parsed = None
    accepted = cast(dict[str, Any], parsed).get("response") if isinstance(parsed, dict) else None
    if type(accepted) is not int or not 0 <= accepted <= sent:
        raise BrokenAnswer(
            f'the target should answer {{"response": a number from 0 to {sent}}}, and did not (HTTP {answer.status})'
        )
    return Receipt(sent=sent, accepted=accepted)


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
            "the target's API key is empty, or holds characters that an HTTP header can't",
            remedy="look for a space, a line break or a quotation mark where it is stored",
        )
    return value


_PASSING = {
    407: ("the proxy wants a login", "check the proxy in this machine's environment"),
    408: ("the target waited too long for the batch", ""),
    429: ("the target has too much to do", ""),
}


def _status_error(status: int) -> ImporterError:
    seen = f"(HTTP {status})"
    if status in (401, 403):
        return TargetKeyRefused(f"the target refuses the key {seen}", remedy="check the client's target.api_key")
    if status in _PASSING:
        problem, remedy = _PASSING[status]
        return Unavailable(f"{problem} {seen}", remedy=remedy)
    if 300 <= status < 400:
        return TargetMisplaced(
            f"the target answers with a redirect, which is not followed: it would carry the key elsewhere {seen}",
            remedy="give as target.url the address that it leads to",
        )
    if 400 <= status < 500:
        remedy = "check target.url" if status in (404, 405) else ""
        return RecordRefused(f"the target refuses the batch {seen}", status=status, remedy=remedy)
    if 500 <= status < 600:
        return Unavailable(f"the target can't answer now {seen}")
    return BrokenAnswer(f"expected a success or an error from the target, got neither {seen}")


_TRANSPORT: Mapping[Fault, tuple[type[ImporterError], str]] = {
    Fault.NAME_UNKNOWN: (Unavailable, "check the host in target.url"),
    Fault.UNREACHABLE: (Unavailable, ""),
    Fault.TLS: (Unavailable, "check this machine's clock and certificates, and the target's"),
    Fault.PROXY: (Unavailable, "check the proxy in this machine's environment"),
    Fault.SLOW: (Unavailable, ""),
    Fault.HUNG_UP: (Unavailable, ""),
    Fault.CUT: (BrokenAnswer, ""),
    Fault.TOO_LARGE: (BrokenAnswer, ""),
    Fault.UNSENDABLE: (TargetMisplaced, "check target.url"),
    Fault.UNFORESEEN: (Unavailable, ""),
}


def fault_error(fault: Fault) -> ImporterError:
    """The error for a fault between here and the target."""
    kind, remedy = _TRANSPORT[fault]
    return kind(f"no answer from the target: {fault.value}", remedy=remedy)
