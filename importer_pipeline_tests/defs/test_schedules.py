"""The hourly schedules, as the daemon evaluates them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from importer_pipeline.definitions import build_defs
from importer_pipeline.defs.dead_runs import MARK_TAG
from importer_pipeline.defs.settings import Settings
from importer_pipeline.errors import SettingsInvalid
from importer_pipeline.locks.files import FileRunLocks, default_folder
from importer_pipeline_tests.defs.declared import client, declared
from importer_pipeline_tests.support.newsletter import Newsletter
from importer_pipeline_tests.support.runs import new_instance
from importer_pipeline_tests.support.stage import Stage

CLIENTS = declared(client("acme"))
SCHEDULES = {"hourly_sync": "incremental_sync", "hourly_first_sync": "full_sync"}
EVERY = [
    *((name, job, "7 * * * *") for name, job in SCHEDULES.items()),
    ("daily_prune", "prune_history", "37 3 * * *"),
]


@pytest.fixture
def instance(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with new_instance(tmp_path_factory) as made:
        yield made


def schedule(name: str, settings: Settings | None = None) -> dg.ScheduleDefinition:
    made = build_defs(CLIENTS, settings).resolve_schedule_def(name)
    assert isinstance(made, dg.ScheduleDefinition)
    return made


def tick(definitions: dg.Definitions, name: str, instance: dg.DagsterInstance) -> dg.ScheduleEvaluationContext:
    return dg.build_schedule_context(
        instance=instance,
        scheduled_execution_time=datetime.now(UTC),
        repository_def=definitions.get_repository_def(),
    )


def asked_for(definitions: dg.Definitions, name: str, instance: dg.DagsterInstance) -> tuple[list[dg.RunRequest], str]:
    """The runs that a tick asks for, and why there are none."""
    data = definitions.resolve_schedule_def(name).evaluate_tick(tick(definitions, name, instance))
    return list(data.run_requests or []), data.skip_message or ""


@pytest.mark.parametrize(("name", "job", "cron"), EVERY)
@pytest.mark.parametrize(
    ("settings", "status"),
    [
        (Settings(), dg.DefaultScheduleStatus.STOPPED),
        (Settings(hourly="on"), dg.DefaultScheduleStatus.RUNNING),
    ],
    ids=["laptop", "server"],
)
def test_it_runs_by_itself_on_a_server_only(
    name: str, job: str, cron: str, settings: Settings, status: dg.DefaultScheduleStatus
) -> None:
    made = schedule(name, settings)
    assert (made.job_name, made.cron_schedule, made.default_status) == (job, cron, status)


def test_the_time_can_be_set_and_a_wrong_one_is_named() -> None:
    assert schedule("hourly_sync", Settings(hourly_cron="23 * * * *")).cron_schedule == "23 * * * *"
    for wrong in ("every hour", "", "61 * * * *", "7 * * *"):
        with pytest.raises(SettingsInvalid, match="IMPORTER_HOURLY_CRON: expected a cron expression of five fields"):
            build_defs(CLIENTS, Settings(hourly_cron=wrong))


@pytest.mark.parametrize(
    ("cron", "minutes"),
    [("* * * * *", 0.5), ("*/2 * * * *", 1.5), ("*/30 * * * *", 25), ("7 * * * *", 50), ("7 2 * * *", 50)],
    ids=["a minute", "two minutes", "half an hour", "an hour", "a day"],
)
def test_a_run_is_to_be_over_before_the_next_tick(cron: str, minutes: float, instance: dg.DagsterInstance) -> None:
    (request,), _ = asked_for(build_defs(CLIENTS, Settings(hourly_cron=cron)), "hourly_sync", instance)
    assert request.run_config["ops"]["import_changes"]["config"]["within_minutes"] == pytest.approx(minutes)


def test_each_schedule_requests_a_run_of_its_own_job(instance: dg.DagsterInstance) -> None:
    definitions = build_defs(CLIENTS)
    for name, op, config in (
        ("hourly_sync", "import_changes", {"newcomers": False, "within_minutes": 50}),
        ("hourly_first_sync", "import_contacts", {"newcomers_only": True}),
    ):
        (request,), _ = asked_for(definitions, name, instance)
        assert request.run_config == {"ops": {op: {"config": config}}}
        assert dg.validate_run_config(definitions.resolve_job_def(SCHEDULES[name]), request.run_config)


def test_old_runs_are_pruned_with_the_defaults_of_the_job(instance: dg.DagsterInstance) -> None:
    definitions = build_defs(CLIENTS)
    (request,), _ = asked_for(definitions, "daily_prune", instance)
    assert dg.validate_run_config(definitions.resolve_job_def("prune_history"), request.run_config)


def test_no_first_sync_is_requested_if_every_audience_has_one(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    stage = Stage(tmp_path)
    stage.add("acme", contacts=20)
    with stage:
        news = Newsletter(stage, instance)
        assert asked_for(build_defs(news.clients), "hourly_first_sync", instance)[0]
        assert news.full_sync().success
        requests, why = asked_for(build_defs(news.clients), "hourly_first_sync", instance)
        assert (requests, why) == ([], "every audience has been synced in full, and its changes since")
        news.declare(record={"firstname": "merge_fields.LNAME"})
        assert asked_for(build_defs(news.clients), "hourly_first_sync", instance)[0]


def begun(
    instance: dg.DagsterInstance, job: str, status: dg.DagsterRunStatus, *, marked: bool, alive: bool = False
) -> str:
    """A run that stands so; as a dead or a live process would have marked it."""
    definitions = build_defs(CLIENTS)
    made = definitions.resolve_job_def(job)
    run = instance.create_run_for_job(made, status=status, tags=made.run_tags)
    locks = FileRunLocks(default_folder())
    if alive:
        locks.hold(run.run_id)
    if marked:
        instance.add_run_tags(run.run_id, {MARK_TAG: locks.mark(run.run_id)})
    return run.run_id


@pytest.mark.parametrize(("name", "job"), SCHEDULES.items())
@pytest.mark.parametrize(
    "status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED], ids=["waiting", "just started"]
)
def test_while_a_run_of_the_job_goes_on_none_is_asked_for(
    name: str, job: str, status: dg.DagsterRunStatus, instance: dg.DagsterInstance
) -> None:
    run_id = begun(instance, job, status, marked=False)
    requests, why = asked_for(build_defs(CLIENTS), name, instance)
    assert requests == []
    assert why == f"run {run_id} of {job} still goes on: what it leaves is taken up by the next tick"


@pytest.mark.parametrize(("name", "job"), SCHEDULES.items())
def test_a_run_whose_process_lives_is_waited_for(name: str, job: str, instance: dg.DagsterInstance) -> None:
    run_id = begun(instance, job, dg.DagsterRunStatus.STARTED, marked=True, alive=True)
    requests, why = asked_for(build_defs(CLIENTS), name, instance)
    assert (requests, why.split(" still goes on")[0]) == ([], f"run {run_id} of {job}")
    run = instance.get_run_by_id(run_id)
    assert run is not None
    assert run.status is dg.DagsterRunStatus.STARTED


@pytest.mark.parametrize(("name", "job"), SCHEDULES.items())
def test_a_run_killed_long_ago_before_its_lock_is_ignored(name: str, job: str, instance: dg.DagsterInstance) -> None:
    killed = dg.DagsterRun(job_name=job, status=dg.DagsterRunStatus.STARTED)
    instance.run_storage.add_historical_run(killed, run_creation_time=datetime.now(UTC) - timedelta(hours=1))
    assert len(asked_for(build_defs(CLIENTS), name, instance)[0]) == 1


@pytest.mark.parametrize(("name", "job"), SCHEDULES.items())
@pytest.mark.parametrize("status", [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE], ids=["well", "badly"])
def test_a_run_that_has_ended_is_no_reason_to_wait(
    name: str, job: str, status: dg.DagsterRunStatus, instance: dg.DagsterInstance
) -> None:
    begun(instance, job, status, marked=True)
    assert len(asked_for(build_defs(CLIENTS), name, instance)[0]) == 1


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_tick_is_skipped_with_a_remedy_if_liveness_is_unknown(
    name: str, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    (tmp_path / "state").write_text("no folder", encoding="utf-8")
    requests, why = asked_for(build_defs(CLIENTS), name, instance)
    assert requests == []
    assert "let this user write there" in why


@pytest.mark.parametrize(("name", "job"), SCHEDULES.items())
def test_a_run_of_the_other_job_is_no_reason_to_wait(name: str, job: str, instance: dg.DagsterInstance) -> None:
    (other,) = set(SCHEDULES.values()) - {job}
    begun(instance, other, dg.DagsterRunStatus.NOT_STARTED, marked=False)
    assert len(asked_for(build_defs(CLIENTS), name, instance)[0]) == 1


@pytest.mark.parametrize(("name", "job"), SCHEDULES.items())
def test_a_dead_run_is_reported_and_the_next_one_requested(name: str, job: str, instance: dg.DagsterInstance) -> None:
    run_id = begun(instance, job, dg.DagsterRunStatus.STARTED, marked=True)
    assert len(asked_for(build_defs(CLIENTS), name, instance)[0]) == 1
    run = instance.get_run_by_id(run_id)
    assert run is not None
    assert run.status is dg.DagsterRunStatus.FAILURE
