"""Faults, and how often they strike."""

import json
from collections import Counter
from random import Random

import pytest

from importer_pipeline.sandbox.faults import Fate, Fault, FaultPlan, Latency, Rule, at_offsets, spoiled
from importer_pipeline.sandbox.messages import SandboxAnswer
from importer_pipeline_tests.sandbox.asking import MEMBERS, get

RIGHT = SandboxAnswer(status=200, headers={"Date": "today", "Link": "x"}, body=b'{"members":[]}')
CALM = Fate()


def _faults(
    fault_plan: FaultPlan, query: dict[str, str] | None = None, n: int = 1
) -> list[Fault | SandboxAnswer | None]:
    random = Random(1)
    return [fault_plan.fate(get(MEMBERS, query), random).fault for _ in range(n)]


def test_without_a_fault_plan_nothing_goes_wrong() -> None:
    assert FaultPlan().fate(get(MEMBERS), Random(1)) == CALM


def test_rates_strike_as_often_as_they_say() -> None:
    fault_plan = FaultPlan(
        rates={Fault.ERROR_500: 0.2, Fault.CUT: 0.1}, rates_after_storing={Fault.RESET: 0.3}
    )  # fmt: skip
    counts = Counter(_faults(fault_plan, n=5000))
    shares = {fault: count / 5000 for fault, count in counts.items()}
    assert shares == pytest.approx({Fault.ERROR_500: 0.2, Fault.CUT: 0.1, Fault.RESET: 0.3, None: 0.4}, abs=0.03)


def test_only_rates_after_storing_strike_after_storing() -> None:
    before, after = FaultPlan(rates={Fault.RESET: 1}), FaultPlan(rates_after_storing={Fault.RESET: 1})
    assert [one.fate(get(MEMBERS), Random(1)).after_storing for one in (before, after)] == [False, True]


def test_a_rule_strikes_exactly_its_requests_each_time() -> None:
    fault_plan = FaultPlan(rules=(Rule(applies=at_offsets(990), fault=Fault.ERROR_500),))
    assert _faults(fault_plan, {"offset": "990"}, n=20) == [Fault.ERROR_500] * 20
    assert _faults(fault_plan, {"offset": "1980"}) == _faults(fault_plan) == [None]


def test_a_page_above_the_limit_times_out() -> None:
    fault_plan = FaultPlan(page_limit=500)
    assert _faults(fault_plan, {"count": "501"}) == _faults(fault_plan, {"count": "9999"}) == [Fault.GATEWAY_TIMEOUT]
    assert _faults(fault_plan, {"count": "500"}) == _faults(fault_plan) == [None]


def test_the_content_is_of_a_moment_between_arrival_and_answer() -> None:
    random, fault_plan = Random(1), FaultPlan(latency=Latency.fixed(2.0))
    fates = [fault_plan.fate(get(MEMBERS), random) for _ in range(200)]
    assert {fate.answer_after_seconds for fate in fates} == {2.0}
    moments = [fate.compute_after_seconds for fate in fates]
    assert 0 <= min(moments) < 0.2 < 1.8 < max(moments) <= 2


def test_some_answers_are_slow() -> None:
    random, latency = Random(1), Latency(least_seconds=0.3, most_seconds=0.7, slow_share=0.1, slow_seconds=(1.0, 3.0))
    drawn = [latency.draw(random) for _ in range(2000)]
    assert all(0.3 <= seconds <= 0.7 or 1 <= seconds <= 3 for seconds in drawn)
    assert 100 < sum(seconds >= 1 for seconds in drawn) < 300


@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [
        (Fault.ERROR_500, 500, "application/problem+json; charset=utf-8"),
        (Fault.TOO_MANY_REQUESTS, 429, "application/problem+json; charset=utf-8"),
        (Fault.GATEWAY_TIMEOUT, 504, "text/html"),
        (Fault.BLOCKED_HTML, 403, "text/html"),
        (Fault.AKAMAI_503, 503, "application/json; charset=utf-8"),
        (Fault.BROKEN_JSON, 200, "application/json; charset=utf-8"),
        (Fault.WRONG_SHAPE, 200, "application/json; charset=utf-8"),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else None,
)
def test_a_fault_makes_another_answer(fault: Fault, status: int, kind: str) -> None:
    answer = spoiled(fault, RIGHT)
    assert (answer.status, answer.headers) == (status, {"Date": "today", "Content-Type": kind})
    assert answer.body != RIGHT.body


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.RESET, Fault.HANG], ids=lambda fault: fault.name)
def test_a_fault_of_the_wire_leaves_the_answer_as_it_is(fault: Fault) -> None:
    assert spoiled(fault, RIGHT) == RIGHT


def test_broken_json_is_none_and_the_wrong_shape_is() -> None:
    with pytest.raises(ValueError, match="Expecting"):
        json.loads(spoiled(Fault.BROKEN_JSON, RIGHT).body)
    assert json.loads(spoiled(Fault.WRONG_SHAPE, RIGHT).body) != {"members": []}
