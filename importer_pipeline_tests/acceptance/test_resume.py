"""Full syncs that go on where others stopped, and those that do not: in process, against the sandbox over HTTP."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from importer_pipeline.sandbox.faults import REFUSED, Fault, FaultPlan, Rule, at_offsets
from importer_pipeline_tests.support.newsletter import Newsletter
from importer_pipeline_tests.support.runs import Ran, new_instance
from importer_pipeline_tests.support.stage import Stage

KEYS = ["0", "40", "80", "120", "160", "archived-0"]
"""The windows of 200 contacts, a tenth of them archived."""


@pytest.fixture
def newsletter(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newsletter]:
    stage = Stage(tmp_path)
    stage.add("acme")
    with stage, new_instance(tmp_path_factory) as instance:
        yield Newsletter(stage, instance)


@pytest.fixture
def unfinished(newsletter: Newsletter) -> Newsletter:
    """One of which the windows 40 and 120 are not in, because they failed. Mailchimp is well again."""
    newsletter.account.fault_plan = FaultPlan(rules=(Rule(applies=at_offsets(40, 120), fault=REFUSED),))
    ran = newsletter.full_sync()
    assert (ran.success, ran.materialized) == (False, [])
    assert (newsletter.shown.green, newsletter.shown.red) == ({"0", "80", "160", "archived-0"}, {"40", "120"})
    newsletter.account.fault_plan = FaultPlan()
    newsletter.asked()
    return newsletter


def notes(ran: Ran) -> list[str]:
    """What the run's log says about the snapshot that it goes on with, or takes."""
    return [told.text for told in ran.told if "snapshot" in told.text and told.text.startswith("acme/newsletter ")]


def snapshots(newsletter: Newsletter) -> list[str]:
    """Ids of the snapshots that were taken, each once, the oldest first."""
    key = dg.AssetKey.from_user_string(newsletter.CONTACTS)
    records = newsletter.instance.fetch_observations(key, limit=100, ascending=True).records
    documents = [
        record.asset_observation.metadata["snapshot"].value
        for record in records
        if record.asset_observation and "snapshot" in record.asset_observation.metadata
    ]
    return list(dict.fromkeys(str(document["id"]) for document in documents if isinstance(document, dict)))


def assert_all_was_read_again(newsletter: Newsletter, ran: Ran, why: str) -> None:
    """The run took a new snapshot, said why, and imported all of it."""
    assert (ran.success, ran.materialized) == (True, [newsletter.CONTACTS])
    assert sorted(ran.partitions(newsletter.WINDOWS)) == sorted(newsletter.shown.keys)
    (note,) = notes(ran)
    assert note.startswith("acme/newsletter takes a new snapshot: ")
    assert why in note
    assert len(snapshots(newsletter)) == 2


def test_the_next_full_sync_reads_only_the_windows_that_are_missing_and_materializes_the_contacts(
    unfinished: Newsletter,
) -> None:
    ran = unfinished.full_sync()
    assert (ran.success, ran.materialized) == (True, [unfinished.CONTACTS])
    assert sorted(ran.partitions(unfinished.WINDOWS)) == ["120", "40"]
    assert len(unfinished.asked()) == 2
    assert unfinished.shown.green == set(KEYS)
    assert unfinished.missing == set()
    assert len(snapshots(unfinished)) == 1


def test_the_log_says_what_it_goes_on_with(unfinished: Newsletter) -> None:
    (note,) = notes(unfinished.full_sync())
    assert note.startswith("acme/newsletter resumes its snapshot of 20")
    assert note.endswith(": 4 of 6 windows are imported")


def test_the_numbers_of_the_whole_are_those_of_both_runs(newsletter: Newsletter) -> None:
    newsletter.account.fault_plan = FaultPlan(rules=(Rule(applies=at_offsets(40), fault=REFUSED),))
    first = newsletter.full_sync()
    newsletter.account.fault_plan = FaultPlan()
    second = newsletter.full_sync()
    windows = [told.numbers for ran in (first, second) for told in ran.told if told.asset == newsletter.WINDOWS]
    numbers = second.numbers(newsletter.CONTACTS)
    assert (numbers["dagster/row_count"], numbers["windows"]) == (200, 6)
    assert numbers["contacts_read"] == sum(window["contacts_read"] for window in windows) >= 200
    assert numbers["contacts_per_second"] <= 50 / numbers["seconds"] + 1


def test_a_full_sync_goes_on_as_often_as_it_has_to(unfinished: Newsletter) -> None:
    unfinished.account.fault_plan = FaultPlan(rates={Fault.ERROR_500: 1.0})
    again = unfinished.full_sync()
    assert (again.success, again.partitions(unfinished.WINDOWS)) == (False, [])
    assert unfinished.shown.green == {"0", "80", "160", "archived-0"}
    unfinished.account.fault_plan = FaultPlan()
    ran = unfinished.full_sync()
    assert (ran.success, sorted(ran.partitions(unfinished.WINDOWS))) == (True, ["120", "40"])
    assert (unfinished.missing, len(snapshots(unfinished))) == (set(), 1)


def test_contacts_that_change_between_the_runs_are_brought_by_the_sync_after(unfinished: Newsletter) -> None:
    stopped_at = unfinished.account.now()
    changed = [member.id for member in unfinished.listed][::7]
    for contact_id in changed:
        unfinished.listed.update(contact_id, merge_fields={"FNAME": "Moved"})
    assert unfinished.full_sync().success
    assert unfinished.stage.missing("acme", changed_before=stopped_at) == set()
    # What changed within the last minute belongs to the next snapshot.
    unfinished.listed.restamp(changed, at=stopped_at - 100)
    assert unfinished.full_sync().success
    assert (unfinished.missing, len(snapshots(unfinished))) == (set(), 2)


def test_after_a_completed_snapshot_a_full_sync_takes_a_new_one_and_all_windows_are_missing_first(
    newsletter: Newsletter,
) -> None:
    newsletter.full_sync()
    newsletter.account.fault_plan = FaultPlan(rules=(Rule(applies=at_offsets(80), fault=REFUSED),))
    ran = newsletter.full_sync()
    after = newsletter.shown
    assert (after.green, after.red) == (set(KEYS) - {"80"}, {"80"})
    assert (ran.materialized, notes(ran), len(snapshots(newsletter))) == ([], [], 2)


def test_an_unfinished_snapshot_that_is_too_old_is_left_and_the_log_says_why(unfinished: Newsletter) -> None:
    ran = unfinished.full_sync(resume_within_hours=0.01)
    assert_all_was_read_again(unfinished, ran, "is older than 0.01 hours")


def test_within_the_hours_that_are_set_it_is_gone_on_with(unfinished: Newsletter) -> None:
    ran = unfinished.full_sync(resume_within_hours=0.1)
    assert (ran.success, len(unfinished.asked()), len(snapshots(unfinished))) == (True, 2, 1)


def another_list(newsletter: Newsletter) -> None:
    newsletter.account.lists["0123456789"] = newsletter.account.lists.pop(newsletter.listed.list_id)
    newsletter.declare(list_id="0123456789")


def another_target(newsletter: Newsletter) -> None:
    newsletter.declare(target={"url": newsletter.stage.server.target_url.replace("127.0.0.1", "localhost")})


def another_mapping(newsletter: Newsletter) -> None:
    newsletter.declare(record={"firstname": "merge_fields.LNAME"})


@pytest.mark.parametrize("declare", [another_list, another_target, another_mapping])
def test_an_unfinished_snapshot_of_another_list_target_or_mapping_is_left_and_the_log_says_why(
    unfinished: Newsletter, declare: Callable[[Newsletter], None]
) -> None:
    declare(unfinished)
    ran = unfinished.full_sync()
    assert_all_was_read_again(unfinished, ran, "the unfinished one is of another list, target or record mapping")


def test_restart_takes_a_new_snapshot_and_the_log_says_why(unfinished: Newsletter) -> None:
    ran = unfinished.full_sync(restart=True)
    assert_all_was_read_again(unfinished, ran, "restart is set")


def test_a_rotated_key_is_no_reason_to_begin_anew(unfinished: Newsletter) -> None:
    unfinished.account.secrets = {"f" * 32 + "-us1"}
    unfinished.declare()
    ran = unfinished.full_sync()
    assert (ran.success, len(unfinished.asked()), len(snapshots(unfinished))) == (True, 2, 1)


def test_to_plan_windows_keeps_an_unfinished_snapshot(unfinished: Newsletter) -> None:
    before = unfinished.shown
    ran = unfinished.plan_windows()
    assert (ran.success, ran.partitions(unfinished.WINDOWS), unfinished.asked()) == (True, [], [])
    assert any("acme/newsletter has 2 windows left to import" in told.text for told in ran.told)
    assert (unfinished.shown, len(snapshots(unfinished))) == (before, 1)


@pytest.mark.parametrize(
    ("config", "why"),
    [({"restart": True}, "restart is set"), ({"resume_within_hours": 0.0}, "is older than 0 hours")],
    ids=["restart", "too old"],
)
def test_to_plan_windows_takes_a_new_snapshot_where_a_full_sync_would(
    unfinished: Newsletter, config: dict[str, Any], why: str
) -> None:
    ran = unfinished.plan_windows(**config)
    (note,) = notes(ran)
    assert (ran.success, why in note) == (True, True)
    assert (unfinished.shown.grey, len(snapshots(unfinished))) == (set(KEYS), 2)


@pytest.mark.parametrize("page_size", [30, 1000], ids=["smaller", "larger"])
def test_windows_stay_as_they_were_cut_when_the_page_size_changes_in_between(
    unfinished: Newsletter, page_size: int
) -> None:
    ran = unfinished.full_sync(page_size=page_size)
    assert (ran.success, ran.materialized) == (True, [unfinished.CONTACTS])
    assert {request.query["count"] for request in unfinished.asked()} == {"50"}
    assert (unfinished.shown.keys, unfinished.missing) == (KEYS, set())


def test_the_next_snapshot_is_cut_as_the_page_size_says_then(newsletter: Newsletter) -> None:
    newsletter.full_sync()
    newsletter.full_sync(page_size=100)
    assert newsletter.shown.keys == ["0", "90", "archived-0"]


def test_each_audience_goes_on_for_itself(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    stage = Stage(tmp_path)
    stage.add("acme", audiences=2)
    stage.add("globex")
    with stage, new_instance(tmp_path_factory) as instance:
        newsletter = Newsletter(stage, instance)
        assert newsletter.full_sync(clients=["globex"]).success
        newsletter.account.fault_plan = FaultPlan(rules=(Rule(applies=at_offsets(40), fault=REFUSED),))
        assert newsletter.full_sync(audiences=["acme/newsletter"]).success is False
        newsletter.account.fault_plan = FaultPlan()
        ran = newsletter.full_sync()
        missing = [stage.missing(name) for name in stage.clients]
    windows = {told.asset: len(ran.partitions(told.asset)) for told in ran.told if told.partition}
    assert windows == {"acme/newsletter/contact_windows": 1, "quarantine": 1} | dict.fromkeys(
        ("acme/customers/contact_windows", "globex/newsletter/contact_windows"), 6
    )
    assert (ran.success, missing) == (True, [set(), set()])
