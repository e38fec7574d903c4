"""Faults that depend on the content of an answer, or that falsify it."""

import json

from importer_pipeline.sandbox.faults import Fault
from importer_pipeline.sandbox.messages import SandboxAnswer
from importer_pipeline.sandbox.passage import Ending, Passage
from importer_pipeline.sandbox.twists import (
    Nonsense,
    beyond_offset,
    edge_json,
    edge_page,
    senseless,
    where_members,
    with_date,
    with_total,
)
from importer_pipeline_tests.sandbox.asking import MEMBERS, get, place

PAGE = SandboxAnswer(
    status=200, headers={"Date": "today"},
    body=b'{"members":[{"id":"a","last_changed":"x"},{"id":"b","last_changed":"y"}],"total_items":2}',
)  # fmt: skip


def test_a_page_is_spoiled_only_where_it_holds_the_member() -> None:
    request = get(MEMBERS)
    assert where_members(["a"], Fault.HANG)(request, PAGE) is Fault.HANG
    assert where_members(["c"], Fault.HANG)(request, PAGE) is PAGE


def test_one_member_is_malformed_and_its_neighbour_is_not() -> None:
    spoiled = json.loads(senseless(["a"], Nonsense.NO_TIME)(PAGE).body)
    assert spoiled["members"] == [{"id": "a"}, {"id": "b", "last_changed": "y"}]


def test_pages_beyond_an_offset_are_spoiled() -> None:
    twist = beyond_offset(10, Fault.HANG)
    assert twist(get(MEMBERS, {"offset": "10"}), PAGE) is PAGE
    assert twist(get(MEMBERS, {"offset": "11"}), PAGE) is Fault.HANG


def test_a_total_and_a_date_can_be_wrong() -> None:
    answer = with_total(lambda total: total + 30)(get(MEMBERS), PAGE)
    assert json.loads(answer.body)["total_items"] == 32 if isinstance(answer, SandboxAnswer) else False
    dated = with_date("one", "two")(get(MEMBERS), PAGE)
    assert isinstance(dated, SandboxAnswer)
    assert dated.headers["Date"] == "one, two"


def test_an_account_twists_its_answers_one_after_the_other() -> None:
    at = place()
    at.account.twists += [with_date("never"), where_members(["nobody"], Fault.CUT)]
    assert Passage(at.sandbox).arrive(get(MEMBERS)).compute().headers["Date"] == "never"
    at.account.twists.append(lambda _request, _answer: Fault.HANG)
    assert Passage(at.sandbox).arrive(get(MEMBERS)).ending is Ending.HANG


def test_an_edge_is_no_problem_document() -> None:
    assert (edge_page(404).status, edge_page(404).headers) == (404, {"Content-Type": "text/html"})
    assert json.loads(edge_json(503).body)["type"] == "akamai_error_message"
