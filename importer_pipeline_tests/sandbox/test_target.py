"""The target: what it takes, refuses and keeps."""

import json

import pytest

from importer_pipeline.sandbox.messages import SandboxRequest
from importer_pipeline.sandbox.target import Manner, Refusal
from importer_pipeline_tests.sandbox.asking import Place, batch, place, post


def _response(at: Place, request: SandboxRequest) -> tuple[int, int | None]:
    answer = at.sandbox.answer(request)
    return answer.status, json.loads(answer.body).get("response")


def test_records_are_upserted_by_id() -> None:
    at = place()
    assert _response(at, batch("1", "2")) == (200, 2)
    assert _response(at, batch("2", "3", firstname="Coral")) == (200, 2)
    assert {record.id: record.firstname for record in at.target.records.values()} == {
        "1": "Amber", "2": "Coral", "3": "Coral",
    }  # fmt: skip
    assert (at.target.posts, at.target.stored) == (2, 4)


def test_accounts_at_one_url_are_told_apart_by_their_key() -> None:
    at = place()
    other = at.sandbox.add_target("other-key")
    assert _response(at, batch("1", key="other-key")) == (200, 1)
    assert (list(at.target.records), list(other.records)) == ([], ["1"])


@pytest.mark.parametrize("key", ["", "wrong", "Bearer target-key"])
def test_a_wrong_key_is_401(key: str) -> None:
    at = place()
    assert _response(at, batch("1", key=key)) == (401, None)
    assert at.target.records == {}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b"", 400, id="nothing"),
        pytest.param(b"{}", 400, id="no list"),
        pytest.param(b"[1]", 400, id="no record"),
        pytest.param(b'[{"id":"1"}]', 400, id="a key is lacking"),
        pytest.param(b'[{"id":1,"firstname":"","lastname":"","email":"","status":""}]', 400, id="a number"),
        pytest.param(b'[{"id":"1","firstname":"","lastname":"","email":"","status":"","x":""}]', 400, id="a key more"),
        pytest.param(b'[{"id":"","firstname":"","lastname":"","email":"","status":""}]', 422, id="no id"),
        pytest.param(b"[]", 200, id="an empty list"),
    ],
)
def test_a_body_that_is_no_list_of_records_is_refused(body: bytes, status: int) -> None:
    assert _response(place(), post(body))[0] == status


def test_a_refusal_by_count_stores_the_others() -> None:
    at = place()
    at.target.refusals = (Refusal.of_ids({"2"}, Manner.COUNT),)
    assert _response(at, batch("1", "2", "3")) == (200, 2)
    assert list(at.target.records) == ["1", "3"]


def test_a_refusal_by_rejection_stores_nothing() -> None:
    at = place()
    at.target.refusals = (
        Refusal(manner=Manner.REJECT, refuses=lambda record: record.id == "2"),
        Refusal.of_ids({"3"}, Manner.COUNT),
    )
    assert _response(at, batch("1", "2")) == (422, None)
    assert at.target.records == {}
    assert _response(at, batch("1", "3")) == (200, 1)


@pytest.mark.parametrize(("once", "count"), [(True, 2), (False, 3)])
def test_records_of_one_id_in_a_batch_count(once: bool, count: int) -> None:
    at = place()
    at.target.counts_duplicates_once = once
    assert _response(at, batch("1", "1", "2")) == (200, count)


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/target/record", 405), ("POST", "/target/records", 404)]
)
def test_there_is_only_post_record(method: str, path: str, status: int) -> None:
    request = SandboxRequest(method=method, path=path, query={}, headers={"Authorization": "target-key"})
    assert place().sandbox.answer(request).status == status
