"""What failed runs leave behind, found by their events: by the sensor as Dagster evaluates it, and by a redrive without one."""

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from importer_pipeline.definitions import build_defs
from importer_pipeline.defs.event_writing import plan_partition
from importer_pipeline.defs.failed_runs import Audiences, quarantine_failures_of, quarantine_recent_failures
from importer_pipeline.defs.names import changes_key, contacts_key, windows_key
from importer_pipeline.engine.outcomes import Part, PartitionRef
from importer_pipeline.listing.hours import HOUR_SECONDS, hour_key
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.sandbox.faults import REFUSED, FaultPlan, Rule, at_offsets
from importer_pipeline.sandbox.messages import SandboxRequest
from importer_pipeline.sandbox.target import Manner, Refusal
from importer_pipeline_tests.defs.declared import client, declared
from importer_pipeline_tests.support.newsletter import Newsletter
from importer_pipeline_tests.support.runs import Ran, materialize, new_instance
from importer_pipeline_tests.support.stage import Stage, in_order, key_of

ALL = ("0", "40", "archived-0")
"""The windows of sixty contacts."""


@pytest.fixture
def news(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newsletter]:
    """One that is eight hours back, and was never synced."""
    stage = Stage(tmp_path)
    stage.add("acme", contacts=60)
    with stage, new_instance(tmp_path_factory) as instance:
        newsletter = Newsletter(stage, instance)
        newsletter.go_back(hours=8)
        yield newsletter


@contextmanager
def revoked(news: Newsletter) -> Generator[None]:
    """Meanwhile the account's key opens nothing."""
    (key,) = news.account.secrets
    news.account.secrets.clear()
    yield
    news.account.secrets.add(key)


def windows_by_hand(news: Newsletter) -> Ran:
    """Windows are registered, launched by hand, and left: the key is refused."""
    assert news.plan_windows().success
    with revoked(news):
        ran = news.import_windows("0", "archived-0")
    assert not ran.success
    assert news.quarantined == {}
    return ran


def window(key: str) -> str:
    """A window's partition in the quarantine."""
    return f"{Newsletter.WINDOWS}/{key}"


def run_of(news: Newsletter, ran: Ran) -> dg.DagsterRun:
    """What Dagster keeps of a run."""
    found = news.instance.get_run_by_id(ran.run_id)
    assert found is not None
    return found


def quarantined_by_sensor(news: Newsletter, ran: Ran) -> set[str]:
    """What is put into the quarantine for a run, as partitions."""
    return {str(ref) for ref in quarantine_failures_of(news.instance, run_of(news, ran), Audiences(news.clients))}


def reasons(news: Newsletter) -> set[str]:
    """Why windows and hours are in the quarantine as a whole."""
    return {trouble.reason for entry in news.quarantined.values() for trouble in entry.failures.values()}


def sensed(news: Newsletter, ran: Ran) -> None:
    """Dagster calls the sensor for a run that has failed."""
    (failed,) = news.instance.all_logs(ran.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    sense(news, run_of(news, ran), failed)


def sense(news: Newsletter, run: dg.DagsterRun, failed: dg.EventLogEntry) -> None:
    context = dg.build_run_status_sensor_context(
        sensor_name="quarantine_failed_partitions", dagster_event=failed.get_dagster_event(), dagster_run=run,
        dagster_instance=news.instance,
    ).for_run_failure()  # fmt: skip
    sensor(news)(context)


def sensor(news: Newsletter) -> dg.SensorDefinition:
    """The sensor of these clients."""
    return build_defs(news.clients).resolve_sensor_def("quarantine_failed_partitions")


@pytest.mark.parametrize(
    ("key", "partition", "ref"),
    [
        (windows_key(AudienceName("acme", "list-0")), "990", "acme/list-0/contact_windows/990"),
        (changes_key(AudienceName("acme", "list-0")), "2026-11-24-07:00", "acme/list-0/contact_changes/2026-11-24-07:00"),
        (windows_key(AudienceName("acme", "list-1")), "990", None),
        (windows_key(AudienceName("globex", "list-0")), "990", None),
        (contacts_key(AudienceName("acme", "list-0")), "990", None),
        (dg.AssetKey(["acme", "list-0"]), "990", None),
        (dg.AssetKey(["some", "acme", "list-0", "contact_windows"]), "990", None),
    ],
    ids=["a window", "an hour", "no such audience", "no such client", "contacts", "an audience", "another's asset"],
)  # fmt: skip
def test_only_windows_and_hours_of_declared_audiences_are_pieces(
    key: dg.AssetKey, partition: str, ref: str | None
) -> None:
    found = Audiences(declared(client("acme"))).ref(key, partition)
    assert (None if found is None else str(found)) == ref


def test_an_hour_not_over_at_its_runs_end_is_left_to_hourly_runs(news: Newsletter) -> None:
    now, key = int(time.time()), changes_key(AudienceName("acme", "newsletter"))

    @dg.op(out=dg.Out(dg.Nothing))
    def step(context: dg.OpExecutionContext) -> None:
        for ago in (0, 2):
            plan_partition(context, key, hour_key(now - ago * HOUR_SECONDS))
        raise dg.Failure("not all is in", allow_retries=False)

    @dg.job(executor_def=dg.in_process_executor)
    def process() -> None:
        step()

    ran = process.execute_in_process(instance=news.instance, raise_on_error=False)
    found = quarantine_failures_of(news.instance, ran.dagster_run, Audiences(news.clients))
    assert [ref.key for ref in found] == [hour_key(now - 2 * HOUR_SECONDS)]


def test_the_sensor_runs_by_itself(news: Newsletter) -> None:
    assert sensor(news).default_status is dg.DefaultSensorStatus.RUNNING


def test_the_sensor_quarantines_what_a_manual_run_left(news: Newsletter) -> None:
    sensed(news, windows_by_hand(news))
    assert set(news.quarantined) == {window(key) for key in ALL}
    assert all("Mailchimp refuses the key" in reason for reason in reasons(news))
    assert news.redrive().success
    assert (news.quarantined, news.missing, news.shown.green) == ({}, set(), set(ALL))


def test_hours_by_hand_come_there_too(news: Newsletter) -> None:
    assert news.full_sync(page_size=1000).success
    changed = news.change(0)
    hour = hour_key(news.account.now())
    news.let_hours_pass(2)
    with revoked(news):
        ran = news.import_hours(hour)
    assert (ran.success, news.quarantined) == (False, {})
    sensed(news, ran)
    assert set(news.quarantined) == {f"{news.CHANGES}/{hour}"}
    assert news.missing == changed
    assert news.redrive().success
    assert (news.quarantined, news.missing) == ({}, set())


def test_the_reason_is_what_the_run_says_of_the_audience(news: Newsletter) -> None:
    ran = news.import_hours(news.hour(ago=-1))
    sensed(news, ran)
    (reason,) = reasons(news)
    assert "is not over by Mailchimp's clock: launch it again in a few minutes" in reason


def test_of_a_run_that_says_nothing_the_reason_is_that_it_ended(news: Newsletter) -> None:
    news.plan_windows()
    ran = materialize(
        news.clients, [dg.AssetKey.from_user_string(news.WINDOWS)], instance=news.instance, partitions=["40"],
        mailchimp={"page_size": 1},
    )  # fmt: skip
    sensed(news, ran)
    assert set(news.quarantined) == {window("40")}
    assert reasons(news) == {f"run {ran.run_id} ended before it was imported: materialize this partition to retry it"}


def test_to_look_twice_changes_nothing(news: Newsletter) -> None:
    ran = windows_by_hand(news)
    assert quarantined_by_sensor(news, ran) == {window(key) for key in ALL}
    before = news.quarantined
    assert quarantined_by_sensor(news, ran) == set()
    sensed(news, ran)
    assert quarantine_recent_failures(news.instance, news.clients) == []
    assert news.quarantined == before


def test_the_next_hourly_run_quarantines_missed_failures_once(news: Newsletter) -> None:
    windows_by_hand(news)
    first = news.incremental_sync(newcomers=False)
    found = news.quarantined
    assert (first.success, set(found)) == (True, {window(key) for key in ALL})
    again = news.incremental_sync(newcomers=False)
    assert (again.success, news.quarantined) == (True, found)
    assert [sum("a failed run left" in line.text for line in ran.log) for ran in (first, again)] == [len(ALL), 0]


def test_what_came_out_of_the_quarantine_is_not_put_there_again(news: Newsletter) -> None:
    ran = windows_by_hand(news)
    sensed(news, ran)
    assert news.redrive().success
    sensed(news, ran)
    assert news.quarantined == {}


def test_what_has_come_in_since_is_left_alone(news: Newsletter) -> None:
    ran = windows_by_hand(news)
    assert news.import_windows("0", "40").success
    assert quarantined_by_sensor(news, ran) == {window("archived-0")}


def test_what_will_be_tried_again_is_left_alone(news: Newsletter) -> None:
    ran = windows_by_hand(news)
    news.instance.add_run_tags(ran.run_id, {"dagster/will_retry": "true"})
    assert quarantined_by_sensor(news, ran) == set()
    assert quarantine_recent_failures(news.instance, news.clients) == []


def test_a_run_that_was_canceled_is_left_alone(news: Newsletter) -> None:
    ran = windows_by_hand(news)
    news.instance.report_run_canceled(run_of(news, ran))
    assert news.redrive().success
    assert news.shown.green == set()


def test_windows_that_the_newest_snapshot_has_not_are_left_alone(news: Newsletter) -> None:
    ran = windows_by_hand(news)
    assert news.plan_windows(restart=True, page_size=1000).success
    assert window("40") not in quarantined_by_sensor(news, ran)


def test_failures_on_a_locked_account_are_quarantined_later(news: Newsletter) -> None:
    ran = windows_by_hand(news)
    with news.busy():
        assert quarantined_by_sensor(news, ran) == set()
        sensed(news, ran)
        assert news.quarantined == {}
    left = {window(key) for key in ALL}
    assert {str(ref) for ref in quarantine_recent_failures(news.instance, news.clients)} == left
    assert set(news.quarantined) == left


def test_what_a_sync_writes_of_an_entry_meanwhile_is_not_lost(news: Newsletter) -> None:
    """A sync that has the account knows the entries as they were when it began: what is added meanwhile it would undo."""
    ran = windows_by_hand(news)
    news.refuse(news.two[0])
    found: list[set[str]] = []

    def look_once_it_runs(request: SandboxRequest) -> bool:
        if not found:
            found.append(quarantined_by_sensor(news, ran))
        return False

    news.fail(look_once_it_runs)
    news.import_windows("0")
    assert found == [set()]
    assert set(news.quarantined[window("0")].contacts) == {news.two[0]}
    assert news.quarantined[window("0")].failures == {}


def test_windows_of_another_mapping_are_left_to_a_full_sync(news: Newsletter) -> None:
    ran = windows_by_hand(news)
    news.declare(record={"firstname": "merge_fields.LNAME"})
    assert quarantined_by_sensor(news, ran) == set()


def test_what_the_step_has_told_is_not_told_anew(news: Newsletter) -> None:
    news.account.fault_plan = FaultPlan(rules=(Rule(applies=at_offsets(40), fault=REFUSED),))
    ran = news.full_sync()
    before = news.quarantined
    assert set(before) == {window("40")}
    sensed(news, ran)
    assert news.quarantined == before


def test_a_window_that_fails_later_keeps_its_refused_contacts(news: Newsletter) -> None:
    bad = {member.id for member in in_order(news.listed)[:2]}
    news.target.refusals = (Refusal.of_ids(bad, Manner.REJECT),)
    news.full_sync(page_size=1000)
    before = news.quarantined[window("0")]
    with revoked(news):
        sensed(news, news.import_windows("0"))
    after = news.quarantined[window("0")]
    assert (set(after.contacts), after.contacts) == (bad, before.contacts)
    assert len(after.failures) == 1


def test_a_job_that_plans_nothing_leaves_nothing(news: Newsletter) -> None:
    with revoked(news):
        ran = news.full_sync()
        sensed(news, ran)
    assert (ran.success, news.quarantined) == (False, {})


def test_failures_of_a_removed_client_are_found_once_it_is_back(news: Newsletter) -> None:
    ran = windows_by_hand(news)
    with_acme = news.clients
    news.stage.add("globex", contacts=20)
    news.clients = news.stage.load({"globex": news.stage.declared()["globex"]})
    sensed(news, ran)
    assert (news.quarantined, quarantine_recent_failures(news.instance, news.clients)) == ({}, [])
    news.clients = with_acme
    found = quarantine_recent_failures(news.instance, news.clients)
    assert set(found) == {
        PartitionRef(name=AudienceName("acme", "newsletter"), part=Part.WINDOW, key=key) for key in ALL
    }


def test_the_sensor_never_raises_and_a_redrive_makes_up_for_it(news: Newsletter) -> None:
    ran = windows_by_hand(news)
    (run_log,) = Path(news.instance.root_directory).rglob(f"{ran.run_id}.db")
    (failed,) = news.instance.all_logs(ran.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    held = run_log.read_bytes()
    run_log.write_bytes(b"no database any more" * 100)
    sense(news, run_of(news, ran), failed)
    run_log.write_bytes(held)
    assert news.quarantined == {}
    ran = news.redrive()
    assert ran.success
    assert any(f"a failed run left {window('0')}" in line.text for line in ran.log)
    assert set(ALL) <= news.shown.green


def test_no_key_is_in_what_is_found(news: Newsletter) -> None:
    sensed(news, windows_by_hand(news))
    records = news.instance.fetch_materializations(dg.AssetKey("quarantine"), limit=10).records
    written = "".join(dg.serialize_value(record.event_log_entry) for record in records)
    acme = news.stage.clients["acme"]
    assert len(records) == len(ALL)
    assert [key for key in (key_of(acme), key_of(acme).partition("-")[0], acme.target.api_key) if key in written] == []
