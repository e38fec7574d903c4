"""Full syncs that resume earlier ones, and those that do not: in process, against the sandbox over HTTP."""

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
    """Return one whose windows 40 and 120 have failed. Mailchimp works again."""
    newsletter.account.fault_plan = FaultPlan(rules=(Rule(applies=at_offsets(40, 120), fault=REFUSED),))
    ran = newsletter.full_sync()
    assert (ran.success, ran.materialized) == (False, [])
    assert (newsletter.shown.green, newsletter.shown.red) == ({"0", "80", "160", "archived-0"}, {"40", "120"})
    newsletter.account.fault_plan = FaultPlan()
    newsletter.asked()
    return newsletter


def notes(ran: Ran) -> list[str]:
    """Return what the run's log says about the snapshot that it resumes or takes."""
    return [line.text for line in ran.log if "snapshot" in line.text and line.text.startswith("acme/newsletter ")]


def snapshots(newsletter: Newsletter) -> list[str]:
    """Return the ids of the snapshots that were taken, each once, the oldest first."""
    key = dg.AssetKey.from_user_string(newsletter.CONTACTS)
    records = newsletter.instance.fetch_observations(key, limit=100, ascending=True).records
    documents = [
        record.asset_observation.metadata["snapshot"].value
        for record in records
        if record.asset_observation and "snapshot" in record.asset_observation.metadata
    ]
    return list(dict.fromkeys(str(document["id"]) for document in documents if isinstance(document, dict)))


def assert_all_was_read_again(newsletter: Newsletter, ran: Ran, why: str) -> None:
    """Assert that the run took a new snapshot, said why, and imported all of it."""
    assert (ran.success, ran.materialized) == (True, [newsletter.CONTACTS])
    assert sorted(ran.partitions(newsletter.WINDOWS)) == sorted(newsletter.shown.keys)
    (note,) = notes(ran)
    assert note.startswith("acme/newsletter takes a new snapshot: ")
    assert why in note
    assert len(snapshots(newsletter)) == 2


def test_the_next_full_sync_reads_only_the_missing_windows(
    unfinished: Newsletter,
) -> None:
    """It then materializes the contacts."""
    ran = unfinished.full_sync()
    assert (ran.success, ran.materialized) == (True, [unfinished.CONTACTS])
    assert sorted(ran.partitions(unfinished.WINDOWS)) == ["120", "40"]
    assert len(unfinished.asked()) == 2
    assert unfinished.shown.green == set(KEYS)
    assert unfinished.missing == set()
    assert len(snapshots(unfinished)) == 1


def test_the_log_says_what_is_resumed(unfinished: Newsletter) -> None:
    (note,) = notes(unfinished.full_sync())
    assert note.startswith("acme/newsletter resumes its snapshot of 20")
    assert note.endswith(": 4 of 6 windows are imported")


def test_the_sums_of_the_snapshot_count_both_runs(newsletter: Newsletter) -> None:
    newsletter.account.fault_plan = FaultPlan(rules=(Rule(applies=at_offsets(40), fault=REFUSED),))
    first = newsletter.full_sync()
    newsletter.account.fault_plan = FaultPlan()
    second = newsletter.full_sync()
    windows = [line.numbers for ran in (first, second) for line in ran.log if line.asset == newsletter.WINDOWS]
    numbers = second.numbers(newsletter.CONTACTS)
    assert (numbers["dagster/row_count"], numbers["windows"]) == (200, 6)
    assert numbers["contacts_read"] == sum(window["contacts_read"] for window in windows) >= 200
    assert numbers["contacts_per_second"] <= 50 / numbers["seconds"] + 1


def test_a_full_sync_is_resumed_as_often_as_needed(unfinished: Newsletter) -> None:
    unfinished.account.fault_plan = FaultPlan(rates={Fault.ERROR_500: 1.0})
    again = unfinished.full_sync()
    assert (again.success, again.partitions(unfinished.WINDOWS)) == (False, [])
    assert unfinished.shown.green == {"0", "80", "160", "archived-0"}
    unfinished.account.fault_plan = FaultPlan()
    ran = unfinished.full_sync()
    assert (ran.success, sorted(ran.partitions(unfinished.WINDOWS))) == (True, ["120", "40"])
    assert (unfinished.missing, len(snapshots(unfinished))) == (set(), 1)


def test_changes_between_the_runs_come_with_the_next_sync(unfinished: Newsletter) -> None:
    """That is the one after the sync that resumes the snapshot."""
    stopped_at = unfinished.account.now()
    changed = [member.id for member in unfinished.listed][::7]
    for contact_id in changed:
        unfinished.listed.update(contact_id, merge_fields={"FNAME": "Moved"})
    assert unfinished.full_sync().success
    assert unfinished.stage.missing("acme", changed_before=stopped_at) == set()
    # Changes of the last minute belong to the next snapshot.
    unfinished.listed.restamp(changed, at=stopped_at - 100)
    assert unfinished.full_sync().success
    assert (unfinished.missing, len(snapshots(unfinished))) == (set(), 2)


def test_after_a_completed_snapshot_a_full_sync_takes_a_new_one(
    newsletter: Newsletter,
) -> None:
    """All windows of the new snapshot are missing first."""
    newsletter.full_sync()
    newsletter.account.fault_plan = FaultPlan(rules=(Rule(applies=at_offsets(80), fault=REFUSED),))
    ran = newsletter.full_sync()
    after = newsletter.shown
    assert (after.green, after.red) == (set(KEYS) - {"80"}, {"80"})
    assert (ran.materialized, notes(ran), len(snapshots(newsletter))) == ([], [], 2)


def test_a_snapshot_that_is_too_old_is_not_resumed(unfinished: Newsletter) -> None:
    """The log says why."""
    ran = unfinished.full_sync(resume_within_hours=0.01)
    assert_all_was_read_again(unfinished, ran, "is older than 0.01 hours")


def test_a_snapshot_within_the_maximum_age_is_resumed(unfinished: Newsletter) -> None:
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
def test_a_snapshot_of_another_fingerprint_is_not_resumed(
    unfinished: Newsletter, declare: Callable[[Newsletter], None]
) -> None:
    """Its list, target or mapping is another one; the log says why."""
    declare(unfinished)
    ran = unfinished.full_sync()
    assert_all_was_read_again(unfinished, ran, "the unfinished one is of another list, target or record mapping")


def test_restart_takes_a_new_snapshot_and_the_log_says_why(unfinished: Newsletter) -> None:
    ran = unfinished.full_sync(restart=True)
    assert_all_was_read_again(unfinished, ran, "restart is set")


def test_a_rotated_key_does_not_start_a_new_snapshot(unfinished: Newsletter) -> None:
    unfinished.account.secrets = {"f" * 32 + "-us1"}
    unfinished.declare()
    ran = unfinished.full_sync()
    assert (ran.success, len(unfinished.asked()), len(snapshots(unfinished))) == (True, 2, 1)


def test_planning_windows_keeps_an_unfinished_snapshot(unfinished: Newsletter) -> None:
    before = unfinished.shown
    ran = unfinished.plan_windows()
    assert (ran.success, ran.partitions(unfinished.WINDOWS), unfinished.asked()) == (True, [], [])
    assert ran.said("acme/newsletter has 2 windows left to import")
    assert (unfinished.shown, len(snapshots(unfinished))) == (before, 1)


@pytest.mark.parametrize(
    ("config", "why"),
    [({"restart": True}, "restart is set"), ({"resume_within_hours": 0.0}, "is older than 0 hours")],
    ids=["restart", "too old"],
)
def test_planning_windows_takes_a_snapshot_as_a_full_sync_does(
    unfinished: Newsletter, config: dict[str, Any], why: str
) -> None:
    """It takes a new one where a full sync would."""
    ran = unfinished.plan_windows(**config)
    (note,) = notes(ran)
    assert (ran.success, why in note) == (True, True)
    assert (unfinished.shown.grey, len(snapshots(unfinished))) == (set(KEYS), 2)


@pytest.mark.parametrize("page_size", [30, 1000], ids=["smaller", "larger"])
def test_windows_keep_their_size_when_the_page_size_changes(unfinished: Newsletter, page_size: int) -> None:
    ran = unfinished.full_sync(page_size=page_size)
    assert (ran.success, ran.materialized) == (True, [unfinished.CONTACTS])
    assert {request.query["count"] for request in unfinished.asked()} == {"50"}
    assert (unfinished.shown.keys, unfinished.missing) == (KEYS, set())


def test_the_next_snapshot_is_cut_as_the_page_size_says_then(newsletter: Newsletter) -> None:
    newsletter.full_sync()
    newsletter.full_sync(page_size=100)
    assert newsletter.shown.keys == ["0", "90", "archived-0"]


def test_each_audience_is_resumed_by_itself(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
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
    windows = {line.asset: len(ran.partitions(line.asset)) for line in ran.log if line.partition}
    assert windows == {"acme/newsletter/contact_windows": 1, "quarantine": 1} | dict.fromkeys(
        ("acme/customers/contact_windows", "globex/newsletter/contact_windows"), 6
    )
    assert (ran.success, missing) == (True, [set(), set()])
