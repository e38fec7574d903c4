"""One thing fails, everything else is imported: the job in process, against the sandbox over HTTP."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from importer_pipeline.sandbox.faults import Fault, FaultPlan, Rule, at_offsets
from importer_pipeline.sandbox.server import listening, url_of
from importer_pipeline.sandbox.target import Manner, RateLimit, Refusal, RetryAfterStyle, batches_with
from importer_pipeline_tests.support.loopback import Loopback, reply
from importer_pipeline_tests.support.runs import Ran, full_sync, run_config
from importer_pipeline_tests.support.stage import Stage, in_order, once

FOUR = ("acme", "globex", "hooli", "initech")


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


@pytest.fixture
def four(stage: Stage) -> Iterator[Stage]:
    """Return four clients, of which `acme` is the one to fail."""
    stage.add("acme", contacts=3000)
    for name in FOUR[1:]:
        stage.add(name)
    with stage:
        yield stage


def assert_only_acme_is_out(stage: Stage, ran: Ran) -> None:
    """Assert that the other clients are imported, at the target and in Dagster, and the run names acme alone."""
    assert {name: stage.missing(name) for name in FOUR[1:]} == {name: set() for name in FOUR[1:]}
    assert sorted(ran.materialized) == [f"{name}/newsletter/contacts" for name in FOUR[1:]]
    assert not ran.success
    heading, *lines = ran.message.splitlines()
    assert heading == "Incomplete: 1 of 4 audiences. Everything else is imported."
    assert [line.split("/")[0] for line in lines] == ["- acme"]


def assert_most_windows_are_left(ran: Ran) -> None:
    """Assert that acme has no imported window, few failed ones, and that the others are only counted."""
    found = re.search(r"acme/newsletter windows? [^(:]+ \((\d+) windows left\): ", ran.message)
    assert found is not None
    assert int(found[1]) > 40
    assert ran.partitions("acme/newsletter/contact_windows") == []


def test_a_revoked_key_costs_one_request_and_no_other_client(four: Stage) -> None:
    declared = four.declared()
    four.clients["acme"].account.secrets.clear()
    ran = full_sync(four.load(declared))
    assert_only_acme_is_out(four, ran)
    assert "Mailchimp refuses the key" in ran.message
    assert "check the client's mailchimp secret" in ran.message
    assert four.sandbox.asked_about(four.clients["acme"].lists[0].list_id) == 1


def test_a_disabled_account_is_skipped_too(four: Stage) -> None:
    four.clients["acme"].account.disabled = True
    ran = full_sync(four.load())
    assert_only_acme_is_out(four, ran)
    assert "Mailchimp refuses the key" in ran.message
    assert four.sandbox.asked_about(four.clients["acme"].lists[0].list_id) == 1


def test_a_hanging_account_delays_no_other(four: Stage) -> None:
    four.clients["acme"].account.fault_plan = FaultPlan(rates={Fault.HANG: 1.0}, hang_seconds=0.1)
    config = run_config(mailchimp={"read_timeout_seconds": 1.0, "retries": 0, "page_size": 50})
    ran = full_sync(four.load(), config)
    assert_only_acme_is_out(four, ran)
    assert "no complete answer arrived in time" in ran.message
    host = four.server.url.removeprefix("http://")
    assert [line.text for line in ran.log if line.text.endswith("It is requested again")] == [
        f"acme: no answer from Mailchimp: no complete answer arrived in time ({host}). It is requested again"
    ]
    ended = [
        line.text for line in ran.log if line.asset in ran.materialized or line.text.startswith("acme/newsletter is")
    ]
    assert ended[-1].startswith("acme/newsletter is incomplete")
    assert len(ended) == 4


def test_an_offset_that_always_fails_is_read_by_time(four: Stage) -> None:
    rule = Rule(applies=at_offsets(990), fault=Fault.ERROR_500)
    four.clients["acme"].account.fault_plan = FaultPlan(rules=(rule,))
    ran = full_sync(four.load())
    assert ran.success
    assert four.missing("acme") == set()
    assert set(ran.partitions("acme/newsletter/contact_windows")) == {"0", "990", "1980", "archived-0"}


@pytest.mark.parametrize("manner", list(Manner), ids=lambda manner: manner.name.lower())
def test_two_refused_contacts_cost_two_contacts(four: Stage, manner: Manner) -> None:
    acme = four.clients["acme"]
    ids = {in_order(acme.lists[0])[position].id for position in (700, 2500)}
    acme.target.refusals = (Refusal.of_ids(ids, manner),)
    ran = full_sync(four.load())
    assert four.missing("acme") == ids
    assert [four.missing(name) for name in FOUR[1:]] == [set(), set(), set()]
    assert not ran.success
    assert ran.message.startswith("Refused: 2 contacts. Everything else is imported.\n- acme/newsletter contacts ")
    assert all(contact_id in ran.message for contact_id in ids)
    assert "correct this contact in Mailchimp, or ask the target's operator why" in ran.message
    assert sorted(ran.materialized) == [f"{name}/newsletter/contacts" for name in FOUR]
    assert ran.numbers("acme/newsletter/contacts")["contacts_refused"] == 2


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        (Fault.BLOCKED_HTML, "the target refuses the batch (HTTP 403)"),
        (Fault.ERROR_500, "the target can't answer now (HTTP 500)"),
        (Fault.RESET, "no answer from the target: the connection ended before an answer arrived"),
        (Fault.CUT, "no answer from the target: the answer was cut off or garbled"),
        (Fault.BROKEN_JSON, 'expected {"response": a number'),
    ],
    ids=lambda value: value.name.lower() if isinstance(value, Fault) else "",
)
def test_contacts_that_fail_any_request_cost_only_themselves(four: Stage, fault: Fault, seen: str) -> None:
    acme = four.clients["acme"]
    ids = {in_order(acme.lists[0])[position].id for position in (700, 2500)}
    rule = Rule(applies=batches_with(lambda record: record.id in ids), fault=fault)
    acme.target.fault_plan = FaultPlan(rules=(rule,))
    ran = full_sync(four.load(), run_config(mailchimp={"retries": 0}))
    assert four.missing("acme") == ids
    assert [four.missing(name) for name in FOUR[1:]] == [set(), set(), set()]
    assert ran.message.startswith("Refused: 2 contacts. Everything else is imported.\n- acme/newsletter contacts ")
    assert all(contact_id in ran.message for contact_id in ids)
    assert seen in ran.message
    assert "example.com" not in ran.message


@pytest.mark.parametrize(
    ("status", "asks"), [(429, RetryAfterStyle.SECONDS), (503, RetryAfterStyle.DATE)], ids=["seconds", "a date"]
)
def test_a_rate_limited_target_is_slower_and_misses_nothing(four: Stage, status: int, asks: RetryAfterStyle) -> None:
    target = four.clients["acme"].target
    target.rate_limit = RateLimit(posts=3, seconds=1.0, asks=asks, status=status)
    ran = full_sync(four.load(), run_config(mailchimp={"page_size": 400, "retries": 0}))
    assert ran.success
    assert {name: four.missing(name) for name in FOUR} == {name: set() for name in FOUR}
    assert 0 < target.turned_away < target.posts / 2


def test_a_contact_without_an_address_is_never_sent(four: Stage) -> None:
    """It is refused with the reason."""
    acme = four.clients["acme"]
    acme.lists[0].add("", merge_fields={"FNAME": "Zyxq"}, at=acme.account.now() - 1000)
    ran = full_sync(four.load())
    assert {name: four.missing(name) for name in FOUR} == {name: set() for name in FOUR}
    assert (len(acme.target.records), len(acme.lists[0])) == (3000, 3001)
    assert all(record.email for record in acme.target.records.values())
    assert not ran.success
    assert ran.message.startswith("Refused: 1 contact. Everything else is imported.\n- acme/newsletter contact ")
    assert 'no email address, so no id of its own: map record.id to "contact_id" to import such contacts' in ran.message


def test_a_target_that_always_fails_is_left_after_a_few_windows(four: Stage) -> None:
    declared = four.declared()
    config = run_config(mailchimp={"page_size": 50, "retries": 1}, target={"max_posts": 2})
    with Loopback(lambda _: [reply(500)]) as broken:
        declared["acme"]["target"]["url"] = broken.url
        ran = full_sync(four.load(declared), config)
        posts = len(broken.received)
    assert_only_acme_is_out(four, ran)
    assert (
        "the target did not accept 3 consecutive windows (the target can't answer now (HTTP 500), 2 times)"
        in ran.message
    )
    # Two posts each for three windows at least; at most for the pages that may wait (eight), be in flight (ten), and
    # replace the first two that are given up. Without the rule: 150 posts for 75 windows.
    assert 6 <= posts <= 2 * (8 + 10 + 2)
    assert_most_windows_are_left(ran)
    assert four.sandbox.asked_about(four.clients["acme"].lists[0].list_id) < 40


def test_an_unreachable_target_is_left_after_a_few_attempts(four: Stage) -> None:
    with listening(0) as listener:
        closed = url_of(listener)
    declared = four.declared()
    declared["acme"]["target"]["url"] = closed
    ran = full_sync(four.load(declared), run_config(mailchimp={"page_size": 50, "retries": 1}, target={"max_posts": 2}))
    assert_only_acme_is_out(four, ran)
    assert "the target did not accept 3 consecutive windows (no answer from the target" in ran.message
    assert four.sandbox.asked_about(four.clients["acme"].lists[0].list_id) < 40


def test_a_redirect_from_the_target_is_not_followed(four: Stage) -> None:
    declared = four.declared()
    elsewhere = {"Location": f"{four.server.target_url}/record"}
    with Loopback(lambda _: [reply(301, headers=elsewhere)]) as moved:
        declared["acme"]["target"]["url"] = moved.url
        ran = full_sync(four.load(declared))
        posts = len(moved.received)
    assert_only_acme_is_out(four, ran)
    assert "the target answers with a redirect, which is not followed" in ran.message
    assert "set target.url to the address that it leads to" in ran.message
    assert 1 <= posts <= 4
    assert four.clients["acme"].target.records == {}


def test_a_wrong_target_key_costs_only_the_posts_in_flight(four: Stage) -> None:
    """It costs no other client anything."""
    declared = four.declared()
    declared["acme"]["target"]["api_key"] = four.secret("wrong", "0" * 64)
    ran = full_sync(four.load(declared), run_config(mailchimp={"page_size": 50}, target={"max_posts": 3}))
    assert_only_acme_is_out(four, ran)
    assert "the target refuses the key (HTTP 401): check the client's target.api_key" in ran.message
    with_that_key = [asked for asked in four.sandbox.answered if asked.header("Authorization") == "0" * 64]
    # Three at once; the place of each may be taken again before it is known what its answer means; and a probe.
    assert 1 <= len(with_that_key) <= 3 + 3 + 1
    assert_most_windows_are_left(ran)


def test_an_unknown_list_does_not_affect_the_other_audience(stage: Stage) -> None:
    acme = stage.add("acme", audiences=2)
    with stage:
        declared = stage.declared()
        declared["acme"]["audiences"]["newsletter"]["list_id"] = "0123456789"
        ran = full_sync(stage.load(declared))
    newsletter, customers = ({member.id for member in listed} for listed in acme.lists)
    assert stage.missing("acme") - customers == newsletter - customers
    assert len(acme.target.records) == len(acme.lists[1])
    assert ran.materialized == ["acme/customers/contacts"]
    assert "- acme/newsletter: Mailchimp has no such list in this account (HTTP 404)" in ran.message
    assert "check the audience's list_id" in ran.message


def test_transient_faults_cost_only_time(four: Stage) -> None:
    faults = (Fault.ERROR_500, Fault.TOO_MANY_REQUESTS, Fault.CUT, Fault.RESET)
    acme = four.clients["acme"]
    struck = [once(at_offsets(90 * number), fault) for number, fault in enumerate(faults, start=1)]
    acme.account.fault_plan = FaultPlan(rules=tuple(struck), rates=dict.fromkeys(faults, 0.02))
    for fault in (Fault.ERROR_500, Fault.CUT, Fault.RESET):
        struck.append(once(lambda request: request.method == "POST", fault))
    acme.target.fault_plan = FaultPlan(
        rules=tuple(struck[4:]), rates={Fault.RESET: 0.02}, rates_after_storing=dict.fromkeys(faults, 0.02)
    )
    ran = full_sync(four.load(), run_config(mailchimp={"page_size": 100, "retries": 6}))
    assert (ran.success, ran.message) == (True, "")
    assert {name: four.missing(name) for name in FOUR} == {name: set() for name in FOUR}
    numbers = ran.numbers("acme/newsletter/contacts")
    # A reset of a connection that was used before is answered by a new connection, without a word to the engine.
    assert numbers["requests"] >= numbers["windows"] + len(faults) - 1
    assert sum(acme.account.traffic.figures(0).requests.values()) >= numbers["windows"] + len(faults)
    assert acme.target.traffic.figures(0).requests["POST /record"] >= numbers["windows"] + 3
