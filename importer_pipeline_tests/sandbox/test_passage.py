"""A request's way: its slot, its moment, its end."""

import json

import pytest

from importer_pipeline.sandbox.faults import Fault, FaultPlan, Latency
from importer_pipeline.sandbox.messages import SandboxRequest
from importer_pipeline.sandbox.passage import Ending, Passage
from importer_pipeline_tests.sandbox.asking import MEMBERS, Place, batch, get, place


def _in_progress(at: Place) -> int:
    return at.account.traffic.figures(at.time()).in_progress


def test_the_eleventh_request_gets_a_429_without_retry_after() -> None:
    at = place()
    passage = Passage(at.sandbox)
    visits = [passage.arrive(get(MEMBERS)) for _ in range(11)]
    answer = visits[10].compute()
    assert [visit.compute().status for visit in visits[:10]] == [200] * 10
    assert (answer.status, json.loads(answer.body)["title"]) == (429, "TooManyRequests")
    assert "Retry-After" not in answer.headers
    visits[10].leave()
    assert _in_progress(at) == 10
    visits[0].leave()
    assert passage.arrive(get(MEMBERS)).compute().status == 200


def test_each_account_has_ten_slots_a_wrong_key_takes_none() -> None:
    at = place(connections=1)
    at.sandbox.add_account("other", api_key="other")
    passage = Passage(at.sandbox)
    keys = ("Bearer wrong", "Bearer other", f"Bearer {next(iter(at.account.secrets))}")
    assert [passage.arrive(get("/3.0/ping", authorization=key)).compute().status for key in keys] == [401, 200, 200]
    assert _in_progress(at) == 1


def test_a_key_and_a_token_of_one_account_share_its_ten_slots() -> None:
    at = place(connections=1)
    passage = Passage(at.sandbox)
    statuses = [
        passage.arrive(get(MEMBERS, authorization=f"Bearer {one}")).compute().status for one in at.account.secrets
    ]
    assert statuses == [200, 429]


def test_leaving_early_keeps_the_slot_until_the_answer_is_due() -> None:
    at = place(connections=1)
    at.account.fault_plan = FaultPlan(latency=Latency.fixed(5.0))
    Passage(at.sandbox).arrive(get(MEMBERS)).abandon()
    at.time.now += 4.9
    assert _in_progress(at) == 1
    at.time.now += 0.2
    assert _in_progress(at) == 0


def test_leaving_a_hanging_request_keeps_the_slot_two_minutes() -> None:
    at = place()
    at.account.fault_plan = FaultPlan(rates={Fault.HANG: 1})
    Passage(at.sandbox).arrive(get(MEMBERS)).abandon()
    at.time.now += 119
    assert _in_progress(at) == 1
    at.time.now += 2
    assert _in_progress(at) == 0


def test_a_page_shows_the_list_as_it_is_when_computed() -> None:
    at = place()
    visit = Passage(at.sandbox).arrive(get(MEMBERS))
    at.members.add("a@example.com")
    page = json.loads(visit.compute().body)
    at.members.add("b@example.com")
    assert page["total_items"] == json.loads(visit.compute().body)["total_items"] == 1


@pytest.mark.parametrize("after", [False, True], ids=["before storing", "after storing"])
@pytest.mark.parametrize("fault", list(Fault), ids=lambda fault: fault.name)
def test_a_fault_of_the_target_strikes(fault: Fault, after: bool) -> None:
    at = place()
    rates = {fault: 1.0}
    at.target.fault_plan = FaultPlan(rates_after_storing=rates) if after else FaultPlan(rates=rates)
    visit = Passage(at.sandbox).arrive(batch("1"))
    answer = visit.compute()
    assert list(at.target.records) == (["1"] if after else [])
    wire = {Fault.CUT: Ending.CUT, Fault.RESET: Ending.RESET, Fault.HANG: Ending.HANG}
    assert visit.ending is wire.get(fault, Ending.WHOLE)
    assert fault in wire or answer.status != 200 or answer.body != b'{"response":1}'


def test_requests_are_counted_by_route_without_ids() -> None:
    at = place()
    passage = Passage(at.sandbox)
    for path in (MEMBERS, MEMBERS, f"{MEMBERS}/x", "/3.0/ping", "/3.0/", "/3.0/lists", "/3.0/nothing"):
        visit = passage.arrive(get(path))
        visit.compute()
        visit.leave()
    visit = passage.arrive(batch("1"))
    visit.compute()
    visit.leave()
    assert at.account.traffic.figures(0).requests == {
        "GET /lists/{list_id}/members": 2, "GET /lists/{list_id}/members/{member}": 1, "GET /ping": 1, "GET /": 1,
        "GET /lists": 1, "GET unknown": 1,
    }  # fmt: skip
    assert at.target.traffic.figures(0).requests == {"POST /record": 1}
    assert at.target.traffic.figures(0).bytes_sent == len(b'{"response":1}')


def test_the_same_seed_brings_the_same_fates() -> None:
    fates = []
    for _ in range(2):
        at = place(seed=5)
        at.account.fault_plan = FaultPlan(rates={Fault.CUT: 0.5}, latency=Latency(most_seconds=1.0))
        fates.append([Passage(at.sandbox).arrive(get(MEMBERS)).fate for _ in range(10)])
    assert fates[0] == fates[1]
    assert len(set(fates[0])) == 10


def test_requests_without_a_key_are_answered_too() -> None:
    request = SandboxRequest(method="GET", path="/", query={}, headers={})
    assert Passage(place().sandbox).arrive(request).compute().status == 401
