"""The answer of a declared target to a receipt: which records were accepted, refused, or have to be sent again. Pure.

A receipt that names records must account for each of them. If an answer contradicts itself, or names records that were
not sent, its receipt names none, and the refused ones are found as if it had only counted (`engine/delivery.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from importer_pipeline.errors import BrokenAnswer, ImporterError, RecordRefused, TooManyRequests
from importer_pipeline.http.json_bodies import NotJSON, any_document
from importer_pipeline.http.wire import Answer
from importer_pipeline.records.contacts import AnyRecord
from importer_pipeline.records.receipt import Receipt, RefusedRecord
from importer_pipeline.target.declaration import AnswerForm, Path, RefusedList, StatusMeaning
from importer_pipeline.target.meanings import (
    BUSY,
    CONTENT,
    KEY,
    NOT_FOUND,
    OF_BATCH,
    UNAVAILABLE,
    Meaning,
    meaning_of,
    server_seconds,
    status_error,
)
from importer_pipeline.target.rates import pause_seconds
from importer_pipeline.target.reasons import reason_of

_DECLARED: Mapping[StatusMeaning, Meaning] = {
    StatusMeaning.REFUSED: CONTENT,
    StatusMeaning.BUSY: BUSY,
    StatusMeaning.RETRY: UNAVAILABLE,
    StatusMeaning.KEY: KEY,
    StatusMeaning.URL: NOT_FOUND,
}
_AGAIN = {408, 425, 429, 500, 502, 503, 504}
"""Statuses of a single record after which it is sent again."""


@dataclass(slots=True)
class _Listed:
    """What an answer lists about single records."""

    refused: dict[str, str] = field(default_factory=dict[str, str])
    """The reasons by id."""
    again: set[str] = field(default_factory=set[str])
    unknown: int = 0
    """Elements that name no record that was sent."""


def read_answer(answer: Answer, records: Sequence[AnyRecord], form: AnswerForm) -> Receipt:
    """Return the receipt in an answer to a post of these records, each id once.

    Raises:
        ImporterError: there is none; as `TargetClient.post`.
    """
    declared = form.statuses.get(answer.status)
    if declared is StatusMeaning.ACCEPTED:
        return _paced(answer, Receipt(sent=len(records), accepted=len(records)))
    if declared is StatusMeaning.RECEIPT or (declared is None and 200 <= answer.status < 300):
        return _paced(answer, _receipt(answer, records, form))
    meaning = meaning_of(answer.status) if declared is None else _DECLARED[declared]
    if meaning is CONTENT and form.refused is not None and (receipt := _of_refused_post(answer, records, form.refused)):
        return _paced(answer, receipt)
    raise _error(answer, meaning, records, form)


def read_check(answer: Answer, form: AnswerForm, *, is_empty_post: bool) -> Receipt:
    """Return an empty receipt if the target is up and accepts the key.

    Args:
        answer: the answer to the check.
        form: the meaning of answers.
        is_empty_post: True if the check was a post without records.

    Raises:
        ImporterError: as `TargetClient.probe`.
    """
    if is_empty_post:
        return read_answer(answer, (), form)
    if not 200 <= answer.status < 300:
        declared = form.statuses.get(answer.status)
        raise status_error(answer, _DECLARED.get(declared or StatusMeaning.RECEIPT) or meaning_of(answer.status))
    _check_not_a_page(answer)
    return _paced(answer, Receipt(sent=0, accepted=0))


def _receipt(answer: Answer, records: Sequence[AnyRecord], form: AnswerForm) -> Receipt:
    sent = len(records)
    _check_not_a_page(answer)
    # What claims to be JSON must be, even if nothing in it matters: a broken success proves nothing.
    is_read = form.accepted is not None or form.refused is not None or (_claims_json(answer) and answer.body)
    document = _document(answer) if is_read else None
    listed = _Listed() if form.refused is None else _listed(document, records, form.refused)
    others = len(listed.refused) + len(listed.again) + listed.unknown
    accepted = max(0, sent - others)
    if form.accepted is not None:
        accepted = value_at(document, form.accepted)
        if type(accepted) is not int or not 0 <= accepted <= sent:
            raise BrokenAnswer(
                f"expected the number of accepted records, from 0 to {sent}, at {'.'.join(form.accepted)} of the "
                f"target's answer, got something else (HTTP {answer.status})"
            )
    if listed.unknown or accepted + others != sent:
        # It does not fit together: only that some record was not accepted is certain.
        return Receipt(sent=sent, accepted=min(accepted, sent - bool(others)))
    return Receipt(sent=sent, accepted=accepted, refused=_refused(listed), again=frozenset(listed.again))


def _of_refused_post(answer: Answer, records: Sequence[AnyRecord], form: RefusedList) -> Receipt | None:
    """Return the receipt of a post that was refused as a whole because of the records that the answer names."""
    try:
        listed = _listed(_document(answer), records, form)
    except BrokenAnswer:
        return None
    if listed.unknown or not listed.refused:
        return None
    rest = frozenset(record.id for record in records if record.id not in listed.refused)
    return Receipt(sent=len(records), accepted=0, refused=_refused(listed), again=rest)


def _listed(document: Any, records: Sequence[AnyRecord], form: RefusedList) -> _Listed:
    elements = value_at(document, form.at)
    if elements is None:
        elements = []
    if not isinstance(elements, list):
        raise BrokenAnswer(f"expected a list at {'.'.join(form.at) or 'the top'} of the target's answer, got no list")
    if form.id is None and form.index is None and len(elements) != len(records):
        raise BrokenAnswer(f"expected {len(records)} results from the target, one per record, got {len(elements)}")
    by_id, listed = {record.id: record for record in records}, _Listed()
    for position, element in enumerate(elements):
        status = None if form.status is None else _whole(value_at(element, form.status))
        if status is not None and 200 <= status < 300:
            continue
        for record_id in _named(element, position, records, form):
            if record_id not in by_id:
                listed.unknown += 1
            elif status in _AGAIN:
                listed.again.add(record_id)
            else:
                said = None if form.reason is None else value_at(element, form.reason)
                listed.refused[record_id] = reason_of(said, [by_id[record_id].content])
    listed.again -= listed.refused.keys()
    return listed


def _named(element: Any, position: int, records: Sequence[AnyRecord], form: RefusedList) -> list[str | None]:
    """Return the ids of the records that an element means; None for one that was not sent."""
    if form.id is not None:
        found = value_at(element, form.id)
        return [
            str(it) if isinstance(it, str | int) else None for it in (found if isinstance(found, list) else [found])
        ]
    index = position if form.index is None else _whole(value_at(element, form.index))
    return [records[index].id if index is not None and 0 <= index < len(records) else None]


def _refused(listed: _Listed) -> tuple[RefusedRecord, ...]:
    return tuple(RefusedRecord(id=record_id, reason=reason) for record_id, reason in listed.refused.items())


def _error(answer: Answer, meaning: Meaning, records: Sequence[AnyRecord], form: AnswerForm) -> ImporterError:
    error = status_error(answer, meaning, OF_BATCH.get(meaning) if records else None)
    if isinstance(error, TooManyRequests) and error.retry_after_seconds is None:
        pause = pause_seconds(answer.headers, now=server_seconds(answer))
        return TooManyRequests(error.problem, retry_after_seconds=pause or None, remedy=error.remedy)
    if isinstance(error, RecordRefused) and form.reason is not None:
        try:
            said = value_at(_document(answer), form.reason)
        except BrokenAnswer:
            return error
        if reason := reason_of(said, [record.content for record in records]):
            return RecordRefused(f"{error.problem}: {reason}", status=error.status)
    return error


def value_at(document: Any, path: Path) -> Any:
    """Return the value at a path of a JSON document; None if there is none."""
    for key in path:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def _kind(answer: Answer) -> str:
    return (answer.header("content-type") or "").partition(";")[0].strip().lower()


def _claims_json(answer: Answer) -> bool:
    return _kind(answer).endswith("json")


def _document(answer: Answer) -> Any:
    kind = _kind(answer)
    try:
        if "ndjson" in kind or "jsonl" in kind or "json-lines" in kind:
            return [any_document(line) for line in answer.body.splitlines() if line.strip()]
        return any_document(answer.body)
    except NotJSON:
        raise BrokenAnswer(f"expected JSON from the target, got something else (HTTP {answer.status})") from None


def _check_not_a_page(answer: Answer) -> None:
    """Raise if a success is a web page: something between here and the target answers in its place."""
    if "html" in _kind(answer):
        raise BrokenAnswer(f"expected an answer of the target, got a web page (HTTP {answer.status})")


def _whole(value: Any) -> int | None:
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    return value if type(value) is int else None


def _paced(answer: Answer, receipt: Receipt) -> Receipt:
    return replace(receipt, pause_seconds=pause_seconds(answer.headers, now=server_seconds(answer)))
