"""The target: records that it takes, refuses and keeps."""

import json

import pytest

from importer_pipeline.sandbox.faults import Fault, FaultPlan, Rule
from importer_pipeline.sandbox.messages import SandboxAnswer, SandboxRequest
from importer_pipeline.sandbox.passage import Passage
from importer_pipeline.sandbox.target import Manner, RateLimit, Refusal, RetryAfterStyle, batches_with
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


def test_accounts_at_one_url_are_separated_by_their_key() -> None:
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
def test_a_body_without_a_list_of_records_is_refused(body: bytes, status: int) -> None:
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


def test_beyond_the_rate_posts_get_429_for_a_while() -> None:
    at = place()
    at.target.rate_limit = RateLimit(posts=2, seconds=60.0)
    statuses = list[int]()
    for seconds in (0.0, 20.0, 10.0, 29.0, 1.0, 0.0, 20.0):
        at.time.now += seconds
        statuses.append(at.sandbox.answer(batch("1")).status)
    assert statuses == [200, 200, 429, 429, 200, 429, 200]
    assert (at.target.posts, at.target.turned_away, at.target.stored) == (7, 3, 4)


@pytest.mark.parametrize(
    ("asks", "said"),
    [
        (RetryAfterStyle.SECONDS, "40"),
        (RetryAfterStyle.DATE, "Tue, 14 Nov 2023 22:14:20 GMT"),
        (RetryAfterStyle.SILENT, None),
    ],
    ids=lambda value: value.name if isinstance(value, RetryAfterStyle) else "",
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_target_says_when_to_retry(asks: RetryAfterStyle, said: str | None, status: int) -> None:
    at = place()
    at.target.rate_limit = RateLimit(posts=1, seconds=60.0, asks=asks, status=status)
    at.sandbox.answer(batch("1"))
    at.time.now += 20.0
    answer = at.sandbox.answer(batch("2"))
    assert (answer.status, answer.headers.get("Retry-After")) == (status, said)
    assert list(at.target.records) == ["1"]


def test_each_key_has_a_rate_of_its_own() -> None:
    at = place()
    at.sandbox.add_target("other-key")
    at.target.rate_limit = RateLimit(posts=0, seconds=60.0)
    assert _response(at, batch("1"))[0] == 429
    assert _response(at, batch("1", key="other-key")) == (200, 1)


@pytest.mark.parametrize("after", [False, True], ids=["before storing", "after storing"])
def test_a_fault_may_depend_on_what_a_batch_holds(after: bool) -> None:
    at = place()
    rule = Rule(applies=batches_with(lambda record: record.id == "2"), fault=Fault.BLOCKED_HTML, after_storing=after)
    at.target.fault_plan = FaultPlan(rules=(rule,))

    def answer(request: SandboxRequest) -> SandboxAnswer:
        return Passage(at.sandbox).arrive(request).compute()

    assert [answer(batch(*ids)).status for ids in (("1", "2"), ("3",), ())] == [403, 200, 200]
    assert list(at.target.records) == (["1", "2", "3"] if after else ["3"])
