"""Answers of declared targets: which records an answer means, and what a partial success means."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from importer_pipeline.errors import (
    BrokenAnswer,
    ImporterError,
    RecordRefused,
    TargetKeyRefused,
    TooManyRequests,
    Unavailable,
)
from importer_pipeline.http.wire import Answer
from importer_pipeline.records.contacts import ShapedRecord
from importer_pipeline.records.receipt import Receipt, RefusedRecord
from importer_pipeline.target.answers import read_answer, read_check
from importer_pipeline.target.declaration import AnswerForm, RefusedList, StatusMeaning

RECORDS = [ShapedRecord(key, {"email": f"{key}@example.com", "name": "Amber Alder"}) for key in "abcd"]
BY_ID = AnswerForm(refused=RefusedList(at=("errors",), id=("id",), reason=("why",)))
BY_INDEX = AnswerForm(accepted=("ok",), refused=RefusedList(at=("errors",), index=("n",), reason=("why",)))
IN_ORDER = AnswerForm(refused=RefusedList(at=(), status=("status",), reason=("why",)))


def answer(status: int, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status=status, headers=headers or {"Content-Type": "application/json"}, body=content)


def read(form: AnswerForm, status: int, body: Any = None, headers: Mapping[str, str] | None = None) -> Receipt:
    return read_answer(answer(status, body, headers), RECORDS, form)


@pytest.mark.parametrize(
    ("form", "status", "body", "receipt"),
    [
        pytest.param(AnswerForm(), 204, b"", Receipt(sent=4, accepted=4), id="a success accepts all"),
        pytest.param(AnswerForm(accepted=("r", "n")), 200, {"r": {"n": 3}}, Receipt(sent=4, accepted=3), id="a number"),
        pytest.param(BY_ID, 200, {}, Receipt(sent=4, accepted=4), id="no list, no refusals"),
        pytest.param(
            BY_ID, 207, {"errors": [{"id": "c", "why": "bad phone"}]},
            Receipt(sent=4, accepted=3, refused=(RefusedRecord(id="c", reason="bad phone"),)), id="by id",
        ),
        pytest.param(
            BY_ID, 207, {"errors": [{"id": ["c", "a"]}]},
            Receipt(sent=4, accepted=2, refused=(RefusedRecord(id="c"), RefusedRecord(id="a"))), id="several ids",
        ),
        pytest.param(BY_ID, 207, {"errors": [{"id": "x"}]}, Receipt(sent=4, accepted=3), id="an id that was not sent"),
        pytest.param(
            BY_INDEX, 200, {"ok": 3, "errors": [{"n": 1}]},
            Receipt(sent=4, accepted=3, refused=(RefusedRecord(id="b"),)), id="by index",
        ),
        pytest.param(
            BY_INDEX, 200, {"ok": 1, "errors": [{"n": 1}]}, Receipt(sent=4, accepted=1), id="others, too: who is open"
        ),
        pytest.param(
            BY_INDEX, 200, {"ok": 4, "errors": [{"n": 1}]}, Receipt(sent=4, accepted=3), id="it contradicts itself"
        ),
        pytest.param(BY_INDEX, 200, {"ok": 3, "errors": [{"n": 4}]}, Receipt(sent=4, accepted=3), id="beyond the post"),
        pytest.param(
            IN_ORDER, 207, [{"status": 201}, {"status": 422, "why": 7}, {"status": 200}, {"status": "503"}],
            Receipt(sent=4, accepted=2, refused=(RefusedRecord(id="b", reason="7"),), again=frozenset("d")),
            id="in order, with one to send again",
        ),
        pytest.param(
            BY_ID, 422, {"errors": [{"id": "b"}]},
            Receipt(sent=4, accepted=0, refused=(RefusedRecord(id="b"),), again=frozenset("acd")),
            id="all were refused because of one",
        ),
    ],
)  # fmt: skip
def test_an_answer_says_what_became_of_each_record(form: AnswerForm, status: int, body: Any, receipt: Receipt) -> None:
    assert read(form, status, body) == receipt


def test_lines_of_json_are_a_list() -> None:
    lines = b'{"status":200}\n{"status":400}\n\n{"status":200}\n{"status":200}\n'
    receipt = read(IN_ORDER, 207, lines, {"content-type": "application/x-ndjson; charset=utf-8"})
    assert receipt.refused == (RefusedRecord(id="b"),)


@pytest.mark.parametrize(
    ("form", "body", "kind"),
    [
        pytest.param(AnswerForm(accepted=("n",)), {"n": "4"}, "application/json", id="no number"),
        pytest.param(AnswerForm(accepted=("n",)), {"n": 5}, "application/json", id="more than were sent"),
        pytest.param(AnswerForm(), b"<html>please log in", "text/html; charset=utf-8", id="a web page"),
        pytest.param(BY_ID, b"oops", "application/json", id="no JSON"),
        pytest.param(BY_ID, {"errors": "many"}, "application/json", id="no list"),
        pytest.param(IN_ORDER, [{"status": 200}], "application/json", id="fewer results than records"),
    ],
)
def test_a_success_that_can_not_be_read_is_sent_again(form: AnswerForm, body: Any, kind: str) -> None:
    with pytest.raises(BrokenAnswer):
        read(form, 200, body, {"Content-Type": kind})


def test_a_reason_holds_no_personal_data() -> None:
    said = 'Amber a@example.com: "0123" is not valid for alder, id 555 0100 123'
    (refused,) = read(BY_ID, 200, {"errors": [{"id": "a", "why": said}]}).refused
    assert refused.reason == "... ... ... is not valid for ..., id ..."
    form = AnswerForm(reason=("error", "code"))
    with pytest.raises(RecordRefused) as caught:
        read(form, 400, {"error": {"code": "invalid_parameter for b@example.com"}})
    assert caught.value.problem == "the target refuses the batch (HTTP 400): invalid_parameter for ..."


@pytest.mark.parametrize(
    ("meaning", "kind"),
    [
        (StatusMeaning.BUSY, TooManyRequests),
        (StatusMeaning.RETRY, Unavailable),
        (StatusMeaning.REFUSED, RecordRefused),
        (StatusMeaning.KEY, TargetKeyRefused),
    ],
)
def test_a_status_means_what_is_declared(meaning: StatusMeaning, kind: type[ImporterError]) -> None:
    with pytest.raises(kind):
        read(AnswerForm(statuses={409: meaning}), 409)
    with pytest.raises(RecordRefused):
        read(AnswerForm(statuses={418: meaning}), 409)


def test_a_status_may_accept_all_or_have_a_receipt() -> None:
    assert read(AnswerForm(statuses={409: StatusMeaning.ACCEPTED}), 409, b"<html>").complete
    declared = AnswerForm(accepted=("n",), statuses={422: StatusMeaning.RECEIPT})
    assert read(declared, 422, {"n": 1}).accepted == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"RateLimit-Remaining": "0", "RateLimit-Reset": "7"}, 7.0),
        ({"x-sib-ratelimit-remaining": "0", "x-sib-ratelimit-reset": "3"}, 3.0),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1784111784", "Date": "Wed, 15 Jul 2026 10:36:20 GMT"}, 4),
        ({"RateLimit": "limit=100, remaining=0, reset=5"}, 5.0),
        ({"RateLimit": '"default";r=0;t=6'}, 6.0),
        ({"RateLimit": '"default";r=1;t=6'}, 0.0),
        ({"RateLimit-Remaining": "0"}, 0.0),
        ({"RateLimit-Remaining": "few", "RateLimit-Reset": "soon"}, 0.0),
    ],
    ids=str,
)
def test_a_rate_limit_that_is_used_up_is_a_pause(headers: dict[str, str], seconds: float) -> None:
    assert read(AnswerForm(), 200, {}, headers).pause_seconds == seconds


def test_a_check_needs_a_success() -> None:
    assert read_check(answer(200, {}), AnswerForm(), is_empty_post=False) == Receipt(sent=0, accepted=0)
    with pytest.raises(TargetKeyRefused) as caught:
        read_check(answer(401), AnswerForm(), is_empty_post=False)
    assert caught.value.problem == "the target refuses the key (HTTP 401)"
    with pytest.raises(BrokenAnswer):
        read_check(answer(200, b"", {"Content-Type": "text/html"}), AnswerForm(), is_empty_post=False)
    with pytest.raises(RecordRefused):
        read_check(answer(400), AnswerForm(), is_empty_post=True)
