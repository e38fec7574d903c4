"""Windows launched by hand, before a full sync and after it: in process, against the sandbox over HTTP."""

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from importer_pipeline.sandbox.faults import REFUSED, Fault, FaultPlan, Rule, at_offsets
from importer_pipeline.sandbox.target import Manner, Refusal
from importer_pipeline_tests.support.newsletter import STEP, Newsletter
from importer_pipeline_tests.support.runs import Ran, new_instance
from importer_pipeline_tests.support.stage import Stage, in_order

KEYS = ["0", "40", "80", "120", "160", "archived-0"]
"""The windows of 200 contacts, a tenth of them archived."""


SOME = pytest.mark.parametrize("key", ["0", "80", "160", "archived-0"])
"""The first one, one in the middle, the last one, and that of archived contacts."""


@pytest.fixture
def newsletter(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newsletter]:
    stage = Stage(tmp_path)
    stage.add("acme")
    with stage, new_instance(tmp_path_factory) as instance:
        yield Newsletter(stage, instance)


@pytest.fixture
def planned(newsletter: Newsletter) -> Newsletter:
    """Return one whose windows are registered, none of them imported."""
    assert newsletter.plan_windows().success
    newsletter.asked()
    return newsletter


@pytest.fixture
def synced(newsletter: Newsletter) -> Newsletter:
    """Return one that has been imported in full."""
    assert newsletter.full_sync().success
    newsletter.asked()
    return newsletter


def ids_in_order(newsletter: Newsletter, key: str) -> list[str]:
    """Return the ids of the contacts between the starts of a window and the next, while none changes."""
    if key == "archived-0":
        return [member.id for member in newsletter.listed if member.status == "archived"]
    return [member.id for member in in_order(newsletter.listed)[int(key) : int(key) + STEP]]


def inner(ids: list[str]) -> set[str]:
    """Drop the first and the last few: the edge seconds of a page are proved by its neighbours."""
    return set(ids[3:-3])


def test_planning_windows_registers_them_and_imports_nothing(newsletter: Newsletter) -> None:
    ran = newsletter.plan_windows()
    assert (ran.success, ran.materialized, ran.partitions(newsletter.WINDOWS)) == (True, [], [])
    assert ran.said("acme/newsletter has 6 windows left to import")
    assert newsletter.shown.grey == set(newsletter.shown.keys) == set(KEYS)
    assert {request.query["count"] for request in newsletter.asked()} == {"1"}
    assert newsletter.target.posts == 0


@SOME
def test_any_window_can_be_the_first_and_is_one_request(planned: Newsletter, key: str) -> None:
    ran = planned.import_windows(key)
    assert (ran.success, ran.materialized, ran.partitions(planned.WINDOWS)) == (True, [], [key])
    assert (planned.shown.green, planned.shown.grey) == ({key}, set(KEYS) - {key})
    assert len(planned.asked()) == 1
    assert set(ids_in_order(planned, key)) <= set(planned.target.records)
    assert len(planned.target.records) == ran.numbers(planned.WINDOWS, key)["contacts_accepted"] <= 50


@pytest.mark.parametrize(("first", "last"), [("40", "120"), ("120", "archived-0"), ("0", "archived-0")], ids=str)
def test_a_range_of_windows_is_one_run_and_a_request_for_each(planned: Newsletter, first: str, last: str) -> None:
    wanted = KEYS[KEYS.index(first) : KEYS.index(last) + 1]
    ran = planned.import_windows(first, last)
    assert (ran.success, sorted(ran.partitions(planned.WINDOWS))) == (True, sorted(wanted))
    assert planned.shown.green == set(wanted)
    assert len(planned.asked()) == len(wanted)
    assert {contact_id for key in wanted for contact_id in ids_in_order(planned, key)} <= set(planned.target.records)
    assert ran.materialized == ([planned.CONTACTS] if wanted == KEYS else [])


@SOME
def test_an_imported_window_is_imported_again_by_one_request(synced: Newsletter, key: str) -> None:
    """The other windows are not."""
    held = dict(synced.target.records)
    synced.target.records.clear()
    ran = synced.import_windows(key)
    assert (ran.success, ran.partitions(synced.WINDOWS)) == (True, [key])
    assert len(synced.asked()) == 1
    again = synced.target.records
    assert (again.items() <= held.items(), len(again) <= 50) == (True, True)
    assert inner(ids_in_order(synced, key)) <= set(again)
    assert synced.shown.green == set(KEYS)


def test_imported_and_missing_windows_can_be_launched_together(planned: Newsletter) -> None:
    planned.import_windows("80")
    planned.asked()
    ran = planned.import_windows("40", "120")
    assert (ran.success, sorted(ran.partitions(planned.WINDOWS))) == (True, ["120", "40", "80"])
    assert planned.shown.green == {"40", "80", "120"}
    assert len(planned.asked()) == 3


def numbers_of(ran: Ran, newsletter: Newsletter) -> dict[str, int]:
    """Sum up what a run says of its windows."""
    windows = [line.numbers for line in ran.log if line.asset == newsletter.WINDOWS]
    names = ("contacts_read", "contacts_accepted", "contacts_refused", "requests")
    return {name: sum(window[name] for window in windows) for name in names}


def test_the_last_missing_window_materializes_the_contacts(
    planned: Newsletter,
) -> None:
    """Whichever run imports it materializes them with the sums of all windows."""
    runs = [planned.import_windows(*keys) for keys in (["160", "archived-0"], ["40"], ["0"], ["120"], ["80"])]
    assert [ran.materialized for ran in runs] == [[], [], [], [], [planned.CONTACTS]]
    each = [numbers_of(ran, planned) for ran in runs]
    sums = {name: sum(one[name] for one in each) for name in each[0]}
    numbers = runs[-1].numbers(planned.CONTACTS)
    # Two more requests counted the contacts; they belong to no window.
    assert {name: numbers[name] for name in sums} == sums
    assert (numbers["dagster/row_count"], numbers["windows"]) == (200, 6)
    assert 200 <= numbers["contacts_read"] == numbers["contacts_accepted"] <= 200 + 5 * 10
    assert planned.missing == set()


def test_a_full_sync_imports_the_windows_not_launched_yet(planned: Newsletter) -> None:
    by_hand = planned.import_windows("80", "160")
    planned.asked()
    ran = planned.full_sync()
    assert (ran.success, ran.materialized) == (True, [planned.CONTACTS])
    assert sorted(ran.partitions(planned.WINDOWS)) == ["0", "40", "archived-0"]
    assert len(planned.asked()) == 3
    assert ran.numbers(planned.CONTACTS)["contacts_read"] == sum(
        numbers_of(one, planned)["contacts_read"] for one in (by_hand, ran)
    )
    assert planned.missing == set()


@pytest.mark.parametrize("seed", range(3))
def test_windows_in_any_order_import_everything(planned: Newsletter, seed: int) -> None:
    """It does not matter which contacts leave the snapshot meanwhile."""
    rng, planned_at = Random(seed), planned.account.now()
    order = rng.sample(KEYS, len(KEYS))
    for key in order:
        ran = planned.import_windows(key)
        assert (ran.success, ran.materialized) == (True, [planned.CONTACTS] if key == order[-1] else [])
        assert ran.partitions(planned.WINDOWS).count(key) == 1
        for _ in range(seed * 2):  # With seed 0, nobody leaves.
            planned.listed.update(rng.choice(in_order(planned.listed)).id, merge_fields={"FNAME": "Moved"})
    assert planned.shown.green == set(KEYS)
    assert planned.stage.missing("acme", changed_before=planned_at) == set()


def test_a_window_that_fails_is_red_and_affects_no_other(planned: Newsletter) -> None:
    planned.account.fault_plan = FaultPlan(rules=(Rule(applies=at_offsets(80), fault=REFUSED),))
    ran = planned.import_windows("0", "160")
    assert not ran.success
    assert ran.message.splitlines()[1:] == [
        "- acme/newsletter window 80 (1 window left): Mailchimp refuses the request (HTTP 400): report this line"
    ]
    after = planned.shown
    assert (after.green, after.red, after.grey) == ({"0", "40", "120", "160"}, {"80"}, {"archived-0"})
    planned.account.fault_plan = FaultPlan()
    assert planned.import_windows("80").success
    assert (planned.shown.green, planned.shown.red) == (set(KEYS) - {"archived-0"}, set())


def test_an_imported_window_that_fails_is_red_until_imported(
    synced: Newsletter,
) -> None:
    """It had been imported, was launched again, and stays failed until it is imported once more."""
    synced.account.fault_plan = FaultPlan(rates={Fault.ERROR_500: 1.0})
    assert not synced.import_windows("40").success
    assert (synced.shown.green, synced.shown.red) == (set(KEYS) - {"40"}, {"40"})
    synced.account.fault_plan = FaultPlan()
    assert synced.import_windows("40").success
    assert synced.shown.green == set(KEYS)


def refuse(newsletter: Newsletter, position: int) -> str:
    """Let the target refuse the contact at that position; return its id."""
    contact_id = in_order(newsletter.listed)[position].id
    newsletter.target.refusals = (Refusal.of_ids({contact_id}, Manner.COUNT),)
    return contact_id


def test_a_refused_contact_is_named_and_its_window_imported(planned: Newsletter) -> None:
    contact_id = refuse(planned, 100)
    ran = planned.import_windows("80")
    assert (ran.success, planned.shown.green) == (False, {"80"})
    assert f"- acme/newsletter contact {contact_id}: the target accepted 0 of 1 records" in ran.message
    assert ran.numbers(planned.WINDOWS, "80")["contacts_refused"] == 1


def test_a_refused_contact_fails_only_the_run_that_read_it(planned: Newsletter) -> None:
    refuse(planned, 100)
    assert not planned.import_windows("80").success
    ran = planned.import_windows("0")
    assert (ran.success, ran.message) == (True, "")
    assert planned.shown.green == {"0", "80"}


def test_a_plan_is_not_failed_by_contacts_refused_earlier(planned: Newsletter) -> None:
    refuse(planned, 100)
    assert not planned.import_windows("80").success
    ran = planned.plan_windows()
    assert (ran.success, ran.message) == (True, "")
    assert planned.shown.green == {"80"}


def test_the_sums_of_a_snapshot_count_refusals_of_every_run(planned: Newsletter) -> None:
    refuse(planned, 100)
    planned.import_windows("80")
    ran = planned.full_sync()
    assert ran.materialized == [planned.CONTACTS]
    assert ran.numbers(planned.CONTACTS)["contacts_refused"] == 1
    assert "and 1 more" not in ran.message


def register(newsletter: Newsletter, key: str) -> None:
    """Register a partition that nobody has planned, so that it can be launched at all."""
    newsletter.instance.add_dynamic_partitions("acme/newsletter/contact_windows", [key])


def assert_refused(newsletter: Newsletter, ran: Ran, *texts: str) -> None:
    """Assert that the run failed with these texts in its message, and made no request."""
    assert (ran.success, ran.materialized, ran.partitions(newsletter.WINDOWS)) == (False, [], [])
    assert [text for text in texts if text not in ran.message] == []
    assert newsletter.asked() == []
    assert newsletter.target.posts == 0


NEW_SNAPSHOT = "run plan_windows, which registers the windows of a new snapshot, or full_sync"


def test_without_a_snapshot_no_window_can_be_imported(newsletter: Newsletter) -> None:
    register(newsletter, "0")
    ran = newsletter.import_windows("0")
    assert_refused(newsletter, ran, "- acme/newsletter: there is no snapshot whose windows could be imp", NEW_SNAPSHOT)
    assert newsletter.shown.red == {"0"}


@pytest.mark.parametrize(("key", "named"), [("41", "41"), ("foo", '"foo"')], ids=["41", "foo"])
def test_an_unknown_window_is_rejected_with_examples(planned: Newsletter, key: str, named: str) -> None:
    """The error names some windows that the snapshot does have."""
    register(planned, key)
    ran = planned.import_windows(key)
    said = f"has no window {named}: choose from its 6 windows: 0, 40, 80, ..."
    assert_refused(planned, ran, said, "run plan_windows")


@pytest.mark.parametrize(
    "changes",
    [
        {"list_id": "0123456789"},
        {"record": {"firstname": "merge_fields.LNAME"}},
        {"target": {"url": "http://127.0.0.1:9/other"}},
    ],
    ids=["list", "mapping", "target"],
)
def test_windows_of_another_list_target_or_mapping_are_refused(planned: Newsletter, changes: dict[str, Any]) -> None:
    planned.declare(**changes)
    ran = planned.import_windows("0", "80")
    assert_refused(
        planned, ran, "another list, target or record mapping than the clients file now declares", NEW_SNAPSHOT
    )


def test_a_rotated_key_changes_nothing(planned: Newsletter) -> None:
    planned.account.secrets = {"f" * 32 + "-us1"}
    planned.declare()
    ran = planned.import_windows("40")
    assert (ran.success, ran.partitions(planned.WINDOWS)) == (True, ["40"])


def test_windows_of_an_old_snapshot_can_still_be_launched(planned: Newsletter) -> None:
    assert planned.plan_windows(resume_within_hours=0.0).success
    assert planned.import_windows("0").success
    assert planned.shown.green == {"0"}


def test_a_plan_after_a_full_sync_makes_all_windows_missing(synced: Newsletter) -> None:
    before = synced.target.posts
    ran = synced.plan_windows()
    assert (ran.success, ran.materialized, synced.shown.grey) == (True, [], set(KEYS))
    assert synced.target.posts == before


def test_an_empty_audience_has_one_window_of_each_kind(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Either can be launched."""
    stage = Stage(tmp_path)
    stage.add("acme", contacts=0)
    with stage, new_instance(tmp_path_factory) as instance:
        newsletter = Newsletter(stage, instance)
        assert newsletter.plan_windows().success
        assert newsletter.shown.keys == ["0", "archived-0"]
        runs = [newsletter.import_windows(key) for key in ("archived-0", "0")]
    assert [(ran.success, ran.materialized) for ran in runs] == [(True, []), (True, [newsletter.CONTACTS])]
