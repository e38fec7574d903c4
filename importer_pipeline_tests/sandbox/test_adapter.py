"""The sandbox in process, through `requests`."""

import json
from collections.abc import Callable

import pytest
import requests

from importer_pipeline.sandbox.adapter import SandboxAdapter
from importer_pipeline.sandbox.faults import Fault, FaultPlan, Latency
from importer_pipeline_tests.sandbox.asking import KEY, MEMBERS, TARGET_KEY, Place, batch, place

URL = "https://us1.api.mailchimp.com"


def _session(at: Place) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.mount(URL, SandboxAdapter(at.sandbox, sleep=at.time.sleep))
    session.auth = ("anyone", KEY)
    return session


def test_it_answers_as_a_server_does() -> None:
    at = place()
    at.members.fill(5, changed_between=(1, 2), seed=1)
    response = _session(at).get(f"{URL}{MEMBERS}", params={"count": 3, "fields": "members.id,total_items"})
    assert response.json()["total_items"] == 5
    assert response.headers["content-length"] == str(len(response.content))
    assert response.headers["date"] == "Tue, 14 Nov 2023 22:13:20 GMT"
    assert (response.encoding, response.url.startswith(URL), response.ok) == ("utf-8", True, True)


def test_a_plus_that_is_not_encoded_arrives_as_a_space() -> None:
    at = place()
    at.members.add("a@example.com")
    session = _session(at)
    urls = [f"{URL}{MEMBERS}?since_last_changed=2023-11-14T22:13:20{plus}00:00" for plus in ("+", "%2B")]
    assert [session.get(url).json()["total_items"] for url in urls] == [1, 0]


def test_it_takes_batches() -> None:
    at = place()
    headers = {"Authorization": TARGET_KEY}
    response = requests.Session()
    response.mount(URL, SandboxAdapter(at.sandbox))
    answer = response.post(f"{URL}/target/record", data=batch("1", "2").body, headers=headers)
    assert answer.json() == {"response": 2}
    assert list(at.target.records) == ["1", "2"]


def test_waiting_uses_the_injected_sleep() -> None:
    at = place()
    at.account.fault_plan = FaultPlan(latency=Latency.fixed(2.0))
    _session(at).get(f"{URL}{MEMBERS}", timeout=3)
    assert sum(at.time.naps) == pytest.approx(2)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.CUT, requests.exceptions.ChunkedEncodingError),
        (Fault.RESET, requests.exceptions.ConnectionError),
        (Fault.HANG, requests.exceptions.ReadTimeout),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else None,
)
def test_a_fault_of_the_wire_raises_what_the_real_stack_raises(fault: Fault, error: type[Exception]) -> None:
    at = place()
    at.account.fault_plan = FaultPlan(rates={fault: 1})
    with pytest.raises(error) as raised:
        _session(at).get(f"{URL}{MEMBERS}", timeout=(1, 2))
    assert type(raised.value) is error


def test_with_stream_a_cut_body_fails_where_it_is_read() -> None:
    at = place()
    at.account.fault_plan = FaultPlan(rates={Fault.CUT: 1})
    response = _session(at).get(f"{URL}{MEMBERS}", stream=True)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        _ = response.content


@pytest.mark.parametrize(
    "fault_plan",
    [FaultPlan(latency=Latency.fixed(5.0)), FaultPlan(rates={Fault.HANG: 1}, hang_seconds=5.0)],
    ids=["slow", "hanging"],
)
def test_a_caller_that_times_out_keeps_its_slot_taken(fault_plan: FaultPlan) -> None:
    at = place()
    at.account.fault_plan = fault_plan
    with pytest.raises(requests.exceptions.ReadTimeout):
        _session(at).get(f"{URL}{MEMBERS}", timeout=(1, 2))
    assert sum(at.time.naps) == pytest.approx(2)
    in_progress: Callable[[], int] = lambda: at.account.traffic.figures(at.time()).in_progress  # noqa: E731
    assert in_progress() == 1
    at.time.now += 3.1
    assert in_progress() == 0


def test_a_batch_is_stored_although_its_sender_timed_out() -> None:
    at = place()
    at.target.fault_plan = FaultPlan(latency=Latency.fixed(60.0))
    session = requests.Session()
    session.mount(URL, SandboxAdapter(at.sandbox, sleep=at.time.sleep))
    with pytest.raises(requests.exceptions.ReadTimeout):
        session.post(f"{URL}/target/record", data=batch("1").body, headers={"Authorization": TARGET_KEY}, timeout=1)
    assert list(at.target.records) == ["1"]


def test_a_wrong_key_is_an_answer_and_no_error() -> None:
    session = _session(place())
    session.auth = ("anyone", "wrong")
    assert json.loads(session.get(f"{URL}/3.0/ping").content)["status"] == 401
