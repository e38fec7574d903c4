"""The protocols that a sandbox's target may speak: what a post of each holds, its answer, and how it is declared.

Stays out: what a target keeps and refuses (see `target`).
"""

import gzip
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from operator import itemgetter
from typing import Any, NamedTuple

from pydantic_core import from_json

from importer_pipeline.sandbox.messages import JSON, SandboxAnswer, encoded

LIMITED = "limited"
"""The name of the protocol of a target with a limited rate."""

NDJSON = "application/x-ndjson"
_GZIP = b"\x1f\x8b"


class TargetRecord(NamedTuple):
    """A record as the target keeps it. Equal to any tuple of the same five texts."""

    id: str
    firstname: str
    lastname: str
    email: str
    status: str


_FIELDS = frozenset(TargetRecord._fields)


class Outcome(Enum):
    """What became of a record of a post."""

    STORED = 200
    REFUSED = 422
    DEFERRED = 503


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """A protocol of a target.

    Attributes:
        name: its name, as options take it.
        method: the method of a post.
        path: the last part of a post's path.
        scheme: what stands before the key in the Authorization header.
        check: the last part of the path of a request that checks the key; "" for none.
        is_whole: True if a post is stored whole or not at all, where a record of it is refused.
        declared: the sections `request`, `response`, `check` and `limits` of the clients file.
        record: returns the section `record`, from the sources of the five texts.
        read: returns the records of a body; None if it holds none.
        answer: returns the answer to a post, from its records and what became of each.
    """

    name: str
    method: str = "POST"
    path: str
    scheme: str = ""
    check: str = ""
    is_whole: bool = False
    declared: Mapping[str, Any] = field(default_factory=dict[str, Any])
    record: Callable[[Mapping[str, str]], dict[str, Any]]
    read: Callable[[bytes], list[TargetRecord] | None]
    answer: Callable[[Sequence[TargetRecord], Sequence[Outcome]], SandboxAnswer]

    def section(self, record_id: str) -> dict[str, Any]:
        """Return what the section `target` of a clients file says beside URL and key; nothing for the default protocol."""
        if self is SEED:
            return {}
        spec = {
            "id": record_id,
            "firstname": "merge_fields.FNAME",
            "lastname": "merge_fields.LNAME",
            "email": "email_address",
            "status": "status",
        }
        return {**self.declared, "record_id": record_id, "record": self.record(spec)}


def plain(body: bytes) -> bytes:
    """Return a body, decompressed if it is compressed."""
    return gzip.decompress(body) if body.startswith(_GZIP) else body


def records_of(body: bytes) -> list[TargetRecord]:
    """Return the records of a post in whatever protocol it is; none if it is in none."""
    found = (protocol.read(plain(body)) for protocol in PROTOCOLS.values())
    return next((records for records in found if records is not None), [])


def _record(values: Sequence[Any]) -> TargetRecord | None:
    if set(map(type, values)) != {str}:
        return None
    contact_id, firstname, lastname, email, status = values
    # Names and statuses repeat: kept once, a million records take a third less.
    return TargetRecord(contact_id, sys.intern(firstname), sys.intern(lastname), email, sys.intern(status))


def _all(items: Any, read: Callable[[Any], TargetRecord | None]) -> list[TargetRecord] | None:
    if not isinstance(items, list):
        return None
    records = list[TargetRecord]()
    for item in items:
        if (record := read(item)) is None:
            return None
        records.append(record)
    return records


def _json(body: bytes) -> Any:
    try:
        return from_json(body)
    except ValueError:  # Also a lone surrogate, which only the standard library accepts.
        pass
    try:
        return json.loads(body)
    except ValueError:
        return None


def _all_flat(items: Any) -> list[TargetRecord] | None:
    """Return the records of a list of flat objects, column by column: most of a target's work."""
    if not isinstance(items, list) or not set(map(type, items)) <= {dict}:
        return None
    if any(item.keys() != _FIELDS for item in items):
        return None
    columns = [list(map(itemgetter(name), items)) for name in TargetRecord._fields]
    if any(not set(map(type, column)) <= {str} for column in columns):
        return None
    ids, firstnames, lastnames, emails, statuses = columns
    rows = zip(
        ids, map(sys.intern, firstnames), map(sys.intern, lastnames), emails, map(sys.intern, statuses), strict=True
    )
    return list(map(TargetRecord._make, rows))


def _nested(item: Any) -> TargetRecord | None:
    match item:
        case {"key": key, "person": {"first": first, "last": last}, "email": email, "state": state}:
            return _record([key, first, last, email, state])
        case _:
            return None


def _person(item: Any) -> TargetRecord | None:
    match item:
        case {"external_id": key, "names": [first, last], "email": email, "status": status, "source": "mailchimp"}:
            return _record([key, first, last, email, status])
        case _:
            return None


def _line(item: Any) -> TargetRecord | None:
    match item:
        case {"id": key, "traits": {"firstname": first, "lastname": last, "email": email, "status": status}}:
            return _record([key, first, last, email, status])
        case _:
            return None


def _flat_record(spec: Mapping[str, str]) -> dict[str, Any]:
    return dict(spec)


def _answer(status: int, document: object) -> SandboxAnswer:
    return SandboxAnswer(status=status, headers={"Content-Type": JSON}, body=encoded(document))


def _count(records: Sequence[TargetRecord], outcomes: Sequence[Outcome]) -> SandboxAnswer:
    stored = {record.id for record, outcome in zip(records, outcomes, strict=True) if outcome is Outcome.STORED}
    return _answer(200, {"response": len(stored)})


def _errors(records: Sequence[TargetRecord], outcomes: Sequence[Outcome]) -> SandboxAnswer:
    errors = [
        {"position": index, "message": "not acceptable"}
        for index, outcome in enumerate(outcomes)
        if outcome is not Outcome.STORED
    ]
    return _answer(422 if errors else 200, {"errors": errors, "total": len(records)})


def _alone(_records: Sequence[TargetRecord], outcomes: Sequence[Outcome]) -> SandboxAnswer:
    if outcomes[0] is Outcome.STORED:
        return SandboxAnswer(status=204, headers={}, body=b"")
    return _answer(outcomes[0].value, {"error": {"code": "not_acceptable"}})


def _lines(records: Sequence[TargetRecord], outcomes: Sequence[Outcome]) -> SandboxAnswer:
    lines = [
        encoded({"id": record.id, "status": outcome.value}) for record, outcome in zip(records, outcomes, strict=True)
    ]
    status = 200 if set(outcomes) <= {Outcome.STORED} else 207
    return SandboxAnswer(status=status, headers={"Content-Type": NDJSON}, body=b"\n".join(lines))


def _silent(_records: Sequence[TargetRecord], outcomes: Sequence[Outcome]) -> SandboxAnswer:
    if set(outcomes) <= {Outcome.STORED}:
        return SandboxAnswer(status=202, headers={}, body=b"")
    return _answer(400, {"error": "a record is not acceptable"})


SEED = Protocol(
    name="seed",
    path="record",
    record=_flat_record,
    read=lambda body: _all_flat(_json(body)),
    answer=_count,
)

PROTOCOLS: Mapping[str, Protocol] = {
    it.name: it
    for it in (
        SEED,
        Protocol(
            name="errors",
            path="contacts",
            scheme="Bearer ",
            is_whole=True,
            declared={
                "request": {
                    "path": "/contacts",
                    "headers": {"Authorization": "Bearer {api_key}"},
                    "body": {"contacts": "{records}", "mode": "upsert"},
                    "batch_size": 4,
                },
                "response": {"refused": {"at": "errors", "index": "position", "reason": "message"}},
            },
            record=lambda spec: {
                "key": spec["id"],
                "person": {"first": spec["firstname"], "last": spec["lastname"]},
                "email": spec["email"],
                "state": spec["status"],
            },
            read=lambda body: (
                _all((_json(body) or {}).get("contacts"), _nested) if isinstance(_json(body), dict) else None
            ),
            answer=_errors,
        ),
        Protocol(
            name="one",
            method="PUT",
            path="people",
            check="account",
            declared={
                "request": {"method": "PUT", "path": "/people", "body": "one", "idempotency_key": "Idempotency-Key"},
                "response": {"reason": "error.code"},
                "check": {"path": "/account"},
                "limits": {"posts_at_once": 3},
            },
            record=lambda spec: {
                "external_id": spec["id"],
                "names": [spec["firstname"], spec["lastname"]],
                "email": spec["email"],
                "status": spec["status"],
                "source": "=mailchimp",
            },
            read=lambda body: _all([_json(body)], _person),
            answer=_alone,
        ),
        Protocol(
            name="lines",
            path="import",
            declared={
                "request": {"path": "/import", "body": "lines", "gzip": "true", "batch_size": 6},
                "response": {"refused": {"at": ".", "status": "status"}},
            },
            record=lambda spec: {"id": spec["id"], "traits": {key: spec[key] for key in TargetRecord._fields[1:]}},
            read=lambda body: _all([_json(line) for line in body.splitlines()], _line),
            answer=_lines,
        ),
        Protocol(
            name=LIMITED,
            path="batch",
            is_whole=True,
            declared={
                "request": {"path": "/batch", "batch_size": 10},
                "response": {"reason": "error"},
                "limits": {"posts_per_second": 5, "posts_at_once": 2},
            },
            record=_flat_record,
            read=lambda body: _all_flat(_json(body)),
            answer=_silent,
        ),
    )
}
"""The protocols by name."""
