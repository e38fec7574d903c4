import json
import traceback
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pytest
from pydantic import SecretStr

from importer_pipeline.errors import (
    BrokenAnswer,
    ImporterError,
    RecordRefused,
    SecretMissing,
    StopClient,
    TargetKeyRefused,
    TargetMisplaced,
    TooManyRequests,
    TooSlow,
    TryAgain,
    Unavailable,
)
from importer_pipeline.http.wire import Answer
from importer_pipeline.records.contacts import Record
from importer_pipeline.records.receipt import Receipt
from importer_pipeline.target.client import TargetClient, TargetLimits, read_probe, read_receipt
from importer_pipeline_tests.support.loopback import Ending, Loopback, Received, Step, reply

KEY = "the target's key"
LIMITS = TargetLimits(read_timeout_seconds=2.0)
RECORDS = [
    Record(id="1", firstname="Zo\u00eb", lastname='"\\\n', email="zoe@example.com", status="subscribed"),
    Record(id="2", firstname="\U0001f600", lastname="", email="", status="archived"),
]


def target(url: str, *, limits: TargetLimits = LIMITS) -> TargetClient:
    return TargetClient(url, SecretStr(KEY), limits=limits)


def post(steps: Sequence[Step], records: Sequence[Record] = RECORDS) -> tuple[Receipt, list[Received]]:
    with Loopback(lambda _: steps) as server:
        posting = target(f"{server.url}/api/")
        receipt = posting.post(records)
        posting.close()
    return receipt, server.received


def answered(status: int, body: object) -> Answer:
    return Answer(status=status, headers={}, body=body if isinstance(body, bytes) else json.dumps(body).encode())


def test_records_are_posted_as_a_list_of_objects() -> None:
    """The key is sent unchanged."""
    receipt, (request,) = post([reply(200, {"response": 2})])
    assert request.line == "POST /api/record HTTP/1.1"
    assert request.headers["authorization"] == KEY
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body) == [record._asdict() for record in RECORDS]
    assert receipt == Receipt(sent=2, accepted=2)
    assert receipt.complete


def test_of_records_with_the_same_id_only_the_last_is_sent() -> None:
    """It is counted once."""
    changed = RECORDS[0]._replace(status="unsubscribed")
    receipt, (request,) = post([reply(200, {"response": 2})], [*RECORDS, changed])
    assert sorted((record["id"], record["status"]) for record in json.loads(request.body)) == [
        ("1", "unsubscribed"),
        ("2", "archived"),
    ]
    assert receipt == Receipt(sent=2, accepted=2)


def test_nothing_is_posted_where_there_is_nothing() -> None:
    receipt, requests = post([Ending.CUT], [])
    assert (receipt, requests) == (Receipt(sent=0, accepted=0), [])


def test_connections_are_used_again() -> None:
    with Loopback(lambda _: [reply(200, {"response": 2})]) as server:
        posting = target(server.url)
        for _ in range(3):
            posting.post(RECORDS)
        posting.close()
    assert server.connections == 1


def test_a_lower_number_means_that_some_were_refused() -> None:
    receipt = read_receipt(answered(200, {"response": 1}), 2)
    assert (receipt.accepted, receipt.complete) == (1, False)


@pytest.mark.parametrize("status", [200, 201, 202, 207, 299])
def test_any_success_with_a_number_is_a_receipt(status: int) -> None:
    assert read_receipt(answered(status, {"response": 2, "more": "text"}), 2).complete


NO_RECEIPTS: dict[str, object] = {
    "nothing": b"",
    "HTML": b"<html>zoe@example.com</html>",
    "cut": b'{"response": 2',
    "a list": [2],
    "a number": 2,
    "null": None,
    "no number": {"accepted": 2},
    "text": {"response": "2"},
    "true": {"response": True},
    "a fraction": {"response": 2.0},
    "below nothing": {"response": -1},
    "more than were sent": {"response": 3},
    "too deep": b"[" * 100_000,
}


@pytest.mark.parametrize("body", NO_RECEIPTS.values(), ids=NO_RECEIPTS)
def test_a_success_without_a_number_that_can_be_is_broken(body: object) -> None:
    with pytest.raises(BrokenAnswer, match="from 0 to 2") as caught:
        read_receipt(answered(200, body), 2)
    assert "example.com" not in "".join(traceback.format_exception(caught.value))


def by_class(status: int) -> type[ImporterError]:
    key, nowhere = dict.fromkeys((401, 402, 403), TargetKeyRefused), dict.fromkeys((404, 405, 410), TargetMisplaced)
    special = {**key, **nowhere, 407: Unavailable, 408: Unavailable, 429: TooManyRequests}
    classes = {3: TargetMisplaced, 4: RecordRefused, 5: Unavailable}
    return special.get(status) or classes.get(status // 100, BrokenAnswer)


def test_each_status_has_one_meaning_without_text_of_the_answer() -> None:
    for status in [*range(200), *range(300, 1000)]:
        answer = answered(status, {"response": 2, "detail": "zoe@example.com"})
        for read in (partial(read_receipt, sent=2), read_probe):
            with pytest.raises(by_class(status)) as caught:
                read(answer)
            assert type(caught.value) is by_class(status), status
            assert f"HTTP {status}" in str(caught.value)
            assert "example.com" not in str(caught.value)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_batch_knows_its_status(status: int) -> None:
    with pytest.raises(RecordRefused) as caught:
        read_receipt(answered(status, {}), 2)
    assert caught.value.status == status


@pytest.mark.parametrize("status", [401, 402, 403, 404, 405, 410, 302])
def test_key_and_url_are_not_blamed_for_what_may_be_the_batch(status: int) -> None:
    with pytest.raises(StopClient) as caught:
        read_receipt(answered(status, {}), 2)
    assert caught.value.problem == f"the target refuses the batch (HTTP {status})"
    with pytest.raises(type(caught.value)) as of_nothing:
        read_probe(answered(status, {}))
    assert "batch" not in str(of_nothing.value)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        pytest.param("40", 40.0, id="seconds"),
        pytest.param("Sun, 06 Nov 1994 08:50:17 GMT", 40.0, id="a date by the target's own clock"),
        pytest.param("soon", None, id="nonsense"),
        pytest.param(None, None, id="nothing"),
    ],
)
def test_a_target_may_ask_for_patience(status: int, said: str | None, seconds: float | None) -> None:
    headers = {"Date": "Sun, 06 Nov 1994 08:49:37 GMT", **({} if said is None else {"Retry-After": said})}
    with pytest.raises(TryAgain) as caught:
        read_receipt(Answer(status=status, headers=headers, body=b""), 2)
    if status == 429 or seconds is not None:
        assert isinstance(caught.value, TooManyRequests)
        assert caught.value.retry_after_seconds == seconds
    else:
        assert isinstance(caught.value, Unavailable)


def test_a_probe_sends_an_empty_list() -> None:
    with Loopback(lambda _: [reply(200, {"response": 0})]) as server:
        posting = target(server.url)
        assert posting.probe() == Receipt(sent=0, accepted=0)
        posting.close()
    (request,) = server.received
    assert (request.line, request.body) == ("POST /record HTTP/1.1", b"[]")
    assert request.headers["authorization"] == KEY


@pytest.mark.parametrize("body", [b"", b"<html>Maintenance</html>", [], 0, {}, {"response": None}], ids=str)
def test_an_answer_without_a_number_is_none_to_nothing(body: object) -> None:
    with pytest.raises(BrokenAnswer):
        read_probe(answered(200, body))


FAILURES: dict[str, list[Step]] = {
    "no answer": [Ending.CUT],
    "a reset": [Ending.RESET],
    "silence": [Ending.SILENCE],
}


@pytest.mark.parametrize("steps", FAILURES.values(), ids=FAILURES)
def test_a_failed_connection_is_retried_without_a_smaller_page(steps: list[Step]) -> None:
    with Loopback(lambda _: steps) as server:
        posting = target(server.url, limits=replace(LIMITS, read_timeout_seconds=0.05))
        with pytest.raises(Unavailable, match="target") as caught:
            posting.post(RECORDS)
        posting.close()
    assert not isinstance(caught.value, TooSlow)
    text = "".join(traceback.format_exception(caught.value))
    assert KEY not in text
    assert "example.com" not in text


def test_a_cut_receipt_is_broken() -> None:
    with pytest.raises(BrokenAnswer):
        post([reply(200, {"response": 2})[:-1], Ending.CUT])


def test_a_redirect_is_not_followed() -> None:
    with Loopback(lambda _: [reply(200, {"response": 2})]) as elsewhere, pytest.raises(TargetMisplaced):
        post([reply(307, headers={"Location": elsewhere.url})])
    assert elsewhere.received == []


@pytest.mark.parametrize("url", ["http://[::1", "example.com", ""], ids=["half an address", "no scheme", "nothing"])
def test_a_url_that_is_none_is_misplaced(url: str) -> None:
    with pytest.raises(TargetMisplaced, match=r"target\.url"):
        target(url).post(RECORDS)


@pytest.mark.parametrize("key", ["", " ", " sesame", "sesame\n", "a\r\nb", "\u20ac", "a\0b"])
def test_a_key_unfit_for_a_header_is_refused_and_not_quoted(key: str) -> None:
    with pytest.raises(SecretMissing) as caught:
        TargetClient("http://example.com", SecretStr(key), limits=LIMITS)
    assert not key.strip() or key not in str(caught.value)


def test_a_key_with_letters_beyond_ascii_is_sent_as_latin_1() -> None:
    with Loopback(lambda _: [reply(200, {"response": 2})]) as server:
        posting = TargetClient(server.url, SecretStr("cl\u00e9"), limits=LIMITS)
        posting.post(RECORDS)
        posting.close()
    assert server.received[0].headers["authorization"] == "cl\u00e9"


def test_the_repr_of_a_target_holds_no_key() -> None:
    assert KEY not in repr(target("http://example.com"))
