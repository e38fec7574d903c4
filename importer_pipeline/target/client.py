"""The default protocol: records are posted in batches to `<url>/record`, and the answer says how many were accepted.

Holds the one request, and its receipt. Stays out: the meaning of a status or a failed connection (`meanings.py`),
targets with a declared protocol (`declared.py`), retries, finding a refused record in its batch (`engine/posting.py`,
`engine/delivery.py`), and the content of a record (`records/contacts.py`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr
from pydantic_core import to_json

from importer_pipeline.errors import BrokenAnswer
from importer_pipeline.http.connections import Adapter, shared_connections
from importer_pipeline.http.hosts import host_of
from importer_pipeline.http.json_bodies import small_document
from importer_pipeline.http.wire import Answer, Limits, Route, Wire
from importer_pipeline.records.contacts import AnyRecord
from importer_pipeline.records.receipt import Receipt
from importer_pipeline.target.bodies import unique_records
from importer_pipeline.target.headers import header_secret
from importer_pipeline.target.meanings import OF_BATCH, fault_error, meaning_of, status_error


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetLimits(Limits):
    """Timeouts and size limits for the target."""

    connect_timeout_seconds: float = 10.0
    read_timeout_seconds: float = 60.0
    answer_timeout_seconds: float = 120.0
    body_limit_bytes: int = 1024 * 1024


class TargetClient:
    """One client's account at the target. Threads may share it.

    Args:
        url: records go to `POST <url>/record`.
        api_key: the Authorization header's value.
        limits: how long and how much an answer may take.
        adapter: what carries the requests; None for the connections to its host.

    Raises:
        SecretMissing: the key can't be a header's value.
    """

    def __init__(self, url: str, api_key: SecretStr, *, limits: TargetLimits, adapter: Adapter | None = None) -> None:
        self._url = url
        self._headers = {"Authorization": header_secret(api_key, name="API key"), "Content-Type": "application/json"}
        self._wire = Wire(limits=limits, error_of=fault_error, adapter=adapter or shared_connections(url))
        self._prepared: Route | None = None

    def __repr__(self) -> str:
        return f"TargetClient(url={self._url!r})"

    @property
    def host(self) -> str:
        """The host of its URL, with the port if the URL names one."""
        return host_of(self._url)

    def post(self, records: Sequence[AnyRecord]) -> Receipt:
        """Send records; of several with the same id, the last. A stored record can be sent again: it is upserted.

        Args:
            records: each a `Record`.

        Raises:
            TryAgain: no complete answer came, and the batch may have been stored; or the target asks to wait.
            RecordRefused: a record of the batch is bad.
            TargetKeyRefused: the key is refused; or a record, by a firewall before the target that answers alike.
            TargetMisplaced: the URL is wrong; or a record is refused, as above.
        """
        unique = unique_records(records)
        if not unique:
            return Receipt(sent=0, accepted=0)
        return read_receipt(self._send(unique), len(unique))

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

    def _send(self, records: Iterable[AnyRecord]) -> Answer:
        if self._prepared is None:
            self._prepared = self._wire.route("POST", self._url, self._headers)
        return self._wire.send(self._prepared, "/record", body=_json(records))


def read_receipt(answer: Answer, sent: int) -> Receipt:
    """Return the receipt in an answer to a batch of `sent` records; raise as `TargetClient.post` if there is none."""
    if not 200 <= answer.status < 300:
        meaning = meaning_of(answer.status)
        raise status_error(answer, meaning, OF_BATCH.get(meaning))
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
        raise status_error(answer, meaning_of(answer.status))
    return read_receipt(answer, 0)


def _json(records: Any) -> bytes:
    return to_json(
        [
            {"id": contact_id, "firstname": firstname, "lastname": lastname, "email": email, "status": status}
            for contact_id, firstname, lastname, email, status in records
        ]
    )
