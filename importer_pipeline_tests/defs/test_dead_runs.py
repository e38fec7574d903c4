"""Which runs are dead, and what becomes of them; the processes themselves are killed in `test_killed_runs`."""

import logging
import threading
import uuid
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from importer_pipeline.defs.dead_runs import MARK_TAG, dead_runs_sensor, report_dead_runs
from importer_pipeline.defs.locking import run_locks
from importer_pipeline.defs.names import POOL
from importer_pipeline.defs.run_liveness import RunLiveness, sign_of_life
from importer_pipeline.locks.files import FileRunLocks, default_folder
from importer_pipeline.locks.protocol import RunLocks

STARTED, CANCELING = dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING
SUCCESS, FAILURE, CANCELED = dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED


FILES = pytest.mark.parametrize("instance", ["sqlite"], indirect=True)
"""Where the locks are files."""


@pytest.fixture
def instance(instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dg.DagsterInstance:
    """One whose pool has one place. Locks that are files are in a folder of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    instance.event_log_storage.set_concurrency_slots(POOL, 1)
    return instance


@pytest.fixture
def locks(instance: dg.DagsterInstance) -> RunLocks:
    """Those that the resource and the sensor use, too."""
    return run_locks(instance)


def marked_run(
    instance: dg.DagsterInstance, locks: RunLocks, *, status: dg.DagsterRunStatus = STARTED, alive: bool = False
) -> str:
    """A run that bears its mark, and whose lock is held if it is alive."""
    run_id = str(uuid.uuid4())
    if alive:
        locks.hold(run_id)
    return run_of(instance, run_id, status=status, tags={MARK_TAG: locks.mark(run_id)})


def run_of(
    instance: dg.DagsterInstance, run_id: str, *, status: dg.DagsterRunStatus = STARTED, tags: dict[str, str]
) -> str:
    instance.add_run(dg.DagsterRun(job_name="full_sync", run_id=run_id, status=status, tags=tags))
    return run_id


def status_of(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def ends(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    """What was said of the run's end, as often as it was."""
    logged = instance.all_logs(
        run_id, of_type={dg.DagsterEventType.PIPELINE_FAILURE, dg.DagsterEventType.PIPELINE_CANCELED}
    )
    return [entry.dagster_event.message or "" for entry in logged if entry.dagster_event is not None]


def has_a_place(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether the run has the pool's only place; it asks for it, too."""
    return instance.event_log_storage.claim_concurrency_slot(POOL, run_id, "step").is_claimed


def test_a_started_run_with_a_free_lock_fails_and_may_be_retried(instance: dg.DagsterInstance, locks: RunLocks) -> None:
    dead = marked_run(instance, locks)
    assert report_dead_runs(instance, locks) == [dead]
    assert status_of(instance, dead) is FAILURE
    (message,) = ends(instance, dead)
    assert "it was killed" in message
    assert "Remedy: start it again" in message


def test_a_run_that_was_to_be_cancelled_is_cancelled(instance: dg.DagsterInstance, locks: RunLocks) -> None:
    dead = marked_run(instance, locks, status=CANCELING)
    assert report_dead_runs(instance, locks) == [dead]
    assert status_of(instance, dead) is CANCELED
    assert len(ends(instance, dead)) == 1


def test_a_dead_run_is_reported_once(instance: dg.DagsterInstance, locks: RunLocks) -> None:
    dead = marked_run(instance, locks)
    assert [report_dead_runs(instance, locks), report_dead_runs(instance, locks)] == [[dead], []]
    assert len(ends(instance, dead)) == 1


def test_a_run_that_is_alive_is_left_alone(instance: dg.DagsterInstance, locks: RunLocks) -> None:
    alive = [marked_run(instance, locks, status=status, alive=True) for status in (STARTED, CANCELING)]
    assert report_dead_runs(instance, locks) == []
    assert [status_of(instance, run_id) for run_id in alive] == [STARTED, CANCELING]


@pytest.mark.parametrize("status", [SUCCESS, FAILURE, CANCELED])
def test_a_run_that_has_ended_is_left_alone(
    instance: dg.DagsterInstance, locks: RunLocks, status: dg.DagsterRunStatus
) -> None:
    ended = marked_run(instance, locks, status=status)
    assert report_dead_runs(instance, locks) == []
    assert (status_of(instance, ended), ends(instance, ended)) == (status, [])


class EndsMeanwhile:
    """Locks that are free because the run has just ended by itself, and said so."""

    def __init__(self, locks: RunLocks, instance: dg.DagsterInstance) -> None:
        self._instance = instance
        self._locks = locks
        self.hold, self.mark, self.remove_old = locks.hold, locks.mark, locks.remove_old

    @contextmanager
    def if_free(self, run_id: str) -> Generator[bool]:
        ended = dg.DagsterEvent(event_type_value=dg.DagsterEventType.PIPELINE_SUCCESS.value, job_name="full_sync")
        self._instance.report_dagster_event(ended, run_id)
        with self._locks.if_free(run_id) as free:
            yield free


def test_a_run_that_ends_during_the_check_is_left_alone(instance: dg.DagsterInstance, locks: RunLocks) -> None:
    ended = marked_run(instance, locks)
    assert report_dead_runs(instance, EndsMeanwhile(locks, instance)) == []
    assert (status_of(instance, ended), ends(instance, ended)) == (SUCCESS, [])


def test_a_run_without_a_mark_is_left_alone(instance: dg.DagsterInstance, locks: RunLocks) -> None:
    unmarked = run_of(instance, str(uuid.uuid4()), tags={})
    assert report_dead_runs(instance, locks) == []
    assert status_of(instance, unmarked) is STARTED


@FILES
def test_a_run_of_another_folder_or_machine_is_left_alone(
    instance: dg.DagsterInstance, locks: RunLocks, tmp_path: Path
) -> None:
    there = [FileRunLocks(tmp_path / "elsewhere"), FileRunLocks(default_folder(), machine="another")]
    runs = [marked_run(instance, other) for other in there]
    assert report_dead_runs(instance, locks) == []
    assert [status_of(instance, run_id) for run_id in runs] == [STARTED, STARTED]


def test_a_retried_run_with_only_its_parents_mark_is_left_alone(instance: dg.DagsterInstance, locks: RunLocks) -> None:
    repeated = instance.get_run_by_id(marked_run(instance, locks, status=FAILURE))
    assert repeated is not None
    repeats = run_of(instance, str(uuid.uuid4()), tags=dict(repeated.tags))
    assert report_dead_runs(instance, locks) == []
    assert status_of(instance, repeats) is STARTED


def test_a_dead_runs_pool_slot_goes_to_a_live_run_that_waits(instance: dg.DagsterInstance, locks: RunLocks) -> None:
    dead = [marked_run(instance, locks) for _ in range(2)]
    alive = marked_run(instance, locks, alive=True)
    assert [has_a_place(instance, run_id) for run_id in (*dead, alive)] == [True, False, False]
    assert sorted(report_dead_runs(instance, locks)) == sorted(dead)
    assert has_a_place(instance, alive)
    (pending,) = instance.event_log_storage.get_concurrency_info(POOL).pending_steps
    assert pending.run_id == alive
    instance.event_log_storage.free_concurrency_slots_for_run(alive)


def test_several_that_report_at_once_report_each_dead_run_once(instance: dg.DagsterInstance, locks: RunLocks) -> None:
    dead = [marked_run(instance, locks) for _ in range(6)]
    together = threading.Barrier(3)

    def report(_: int) -> list[str]:
        together.wait()
        return report_dead_runs(instance, locks)

    with ThreadPoolExecutor(3) as threads:
        reported = [run_id for part in threads.map(report, range(3)) for run_id in part]
    assert sorted(reported) == sorted(dead)
    assert [len(ends(instance, run_id)) for run_id in dead] == [1] * 6


@dg.op(pool=POOL, out=dg.Out(dg.Nothing))
def work(sign_of_life: dg.ResourceParam[RunLiveness]) -> None:
    """Nothing but a place in the pool."""


@dg.job(resource_defs={"sign_of_life": sign_of_life}, executor_def=dg.in_process_executor)
def working() -> None:
    work()


@dg.asset(pool=POOL)
def made(sign_of_life: dg.ResourceParam[RunLiveness]) -> None:
    """Nothing but a place in the pool."""


def run_job(instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    return working.execute_in_process(instance=instance)


def run_asset(instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    return dg.materialize([made], instance=instance, resources={"sign_of_life": sign_of_life})


RUNS = pytest.mark.parametrize("run", [run_job, run_asset], ids=["job", "asset"])
Run = Callable[[dg.DagsterInstance], dg.ExecuteInProcessResult]


def warnings(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    return [entry.user_message for entry in instance.all_logs(run_id) if entry.level == logging.WARNING]


@RUNS
def test_a_run_bears_its_mark_and_holds_its_lock_past_its_end(
    instance: dg.DagsterInstance, locks: RunLocks, run: Run
) -> None:
    run_id = run(instance).run_id
    ended = instance.get_run_by_id(run_id)
    assert ended is not None
    assert (ended.status, ended.tags[MARK_TAG]) == (SUCCESS, locks.mark(run_id))
    with locks.if_free(run_id) as free:
        assert not free


@RUNS
def test_a_run_reports_the_dead_ones_and_says_so(instance: dg.DagsterInstance, locks: RunLocks, run: Run) -> None:
    dead = marked_run(instance, locks)
    (warning,) = warnings(instance, run(instance).run_id)
    assert warning == f"run {dead} stood as running, but its process is gone: it is reported as ended"
    assert status_of(instance, dead) is FAILURE


@RUNS
def test_a_run_that_no_other_process_can_see_needs_no_lock(locks: RunLocks, run: Run) -> None:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        ran = run(ephemeral)
        assert (ran.success, warnings(ephemeral, ran.run_id)) == (True, [])
    assert not default_folder().exists()


def test_the_resource_can_be_built_where_there_is_no_run(locks: RunLocks) -> None:
    with dg.build_resources({"sign_of_life": sign_of_life}) as resources:
        assert isinstance(resources.sign_of_life, RunLiveness)


@pytest.fixture
def unusable(locks: RunLocks) -> None:
    """A file where the folder of the locks should be."""
    default_folder().parent.mkdir(parents=True)
    default_folder().touch()


@FILES
@pytest.mark.usefixtures("unusable")
@RUNS
def test_a_run_goes_on_without_a_lock_and_says_what_to_do(instance: dg.DagsterInstance, run: Run) -> None:
    run_id = run(instance).run_id
    (warning,) = warnings(instance, run_id)
    ended = instance.get_run_by_id(run_id)
    assert ended is not None
    assert (ended.status, MARK_TAG in ended.tags) == (SUCCESS, False)
    assert warning.startswith("nobody will notice if this run's process is killed, since the folder ")
    assert "let this user write there" in warning


def tick(instance: dg.DagsterInstance) -> str:
    """What the sensor says."""
    with dg.build_sensor_context(instance=instance) as context:
        return dead_runs_sensor.evaluate_tick(context).skip_message or ""


def test_the_sensor_reports_dead_runs_and_says_so(instance: dg.DagsterInstance, locks: RunLocks) -> None:
    dead = marked_run(instance, locks)
    assert tick(instance) == f"reported as ended, since their processes are gone: {dead}"
    assert tick(instance) == "no run is dead"
    assert status_of(instance, dead) is FAILURE


@FILES
@pytest.mark.usefixtures("unusable")
def test_the_sensor_says_what_to_do_where_it_cannot_tell(instance: dg.DagsterInstance) -> None:
    assert "let this user write there" in tick(instance)
