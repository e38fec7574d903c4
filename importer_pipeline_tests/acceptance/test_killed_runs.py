"""Runs in separate processes that are killed, and the runs after them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import dagster as dg
import pytest

from importer_pipeline.defs.dead_runs import MARK_TAG, report_dead_runs
from importer_pipeline.defs.names import POOL
from importer_pipeline.locks.files import FileRunLocks, default_folder
from importer_pipeline_tests.support.patience import ended, until
from importer_pipeline_tests.support.processes import Processes as StartedProcesses
from importer_pipeline_tests.support.runs import ROOT, dagster_home, runs_in_pool
from importer_pipeline_tests.support.waiting import FOLDER, GO

STARTED, SUCCESS, FAILURE = dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE


DEFINITIONS = ("-m", "importer_pipeline_tests.support.waiting")
JOB = ("job", "execute", "-j", "waiting_job", *DEFINITIONS)
ASSET = ("asset", "materialize", "--select", "waiting_asset", *DEFINITIONS)

SEVERAL = """
import os, runpy, sys
import dagster, importer_pipeline_tests.support.waiting
times = int(sys.argv.pop(1))
for _ in range(times):
    if os.fork() == 0:
        runpy.run_module("dagster", run_name="__main__", alter_sys=True)
sys.exit(max(abs(os.waitstatus_to_exitcode(os.wait()[1])) for _ in range(times)))
"""
"""`dagster ...` in several processes, forked after the second that the import takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A run that has its pool slot and waits there.

    Attributes:
        run_id: its id.
        pid: its process.
    """

    run_id: str
    pid: int


class Processes:
    """A DAGSTER_HOME as the project sets it up, and the processes that share it.

    Args:
        folder: holds all of it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._home = dagster_home(folder)
        self._processes = StartedProcesses(folder)
        self._count = 0
        self._met: set[str] = set()
        self.instance = dg.DagsterInstance.from_config(str(self._home))
        self.locks = FileRunLocks(default_folder())
        # The first access creates the database, and Dagster does not support ten first accesses at once.
        self.instance.get_runs()
        self.instance.event_log_storage.get_pool_limits()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._processes.__exit__(kind, error, trace)
        self.instance.dispose()

    def start(self, *arguments: str, times: int = 1) -> subprocess.Popen[bytes]:
        """Start `dagster ...` so many times at once; the process returned ends with all, and succeeds if all do."""
        return self.run(sys.executable, "-c", SEVERAL, str(times), *arguments)

    def run(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a command, whose output goes to a file for analysing failures."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DAGSTER_")}
        environment |= {"PYTHONPATH": str(ROOT), "DAGSTER_HOME": str(self._home), FOLDER: str(self._folder)}
        self._count += 1
        return self._processes.start(f"output-{self._count}", command, environment)

    def waiting(self, count: int = 1) -> list[Waiting]:
        """Return the next runs that wait in their slots, as soon as there are so many."""
        until(lambda: len(self._new()) >= count)
        found = [Waiting(run_id=path.stem, pid=int(path.read_text(encoding="ascii"))) for path in self._new()]
        self._met |= {waiting.run_id for waiting in found}
        return found

    def go(self) -> None:
        """Let no run wait in its slot from now on."""
        (self._folder / GO).touch()

    def killed(self, *arguments: str, times: int = 1) -> list[str]:
        """Start runs, kill them in their slots, and return their ids."""
        process = self.start(*arguments, times=times)
        runs = self.waiting(times)
        for run in runs:
            os.kill(run.pid, signal.SIGKILL)
        ended(process)
        return [run.run_id for run in runs]

    def statuses(self, run_ids: Sequence[str] | None = None) -> set[dg.DagsterRunStatus]:
        """Return the statuses of those runs, or of all."""
        return {run.status for run in self.instance.get_runs(dg.RunsFilter(run_ids=run_ids))}

    def message(self, run_id: str) -> str:
        """Return the message of a run's failure."""
        (entry,) = self.instance.all_logs(run_id, of_type=dg.DagsterEventType.PIPELINE_FAILURE)
        return entry.user_message or entry.get_dagster_event().message or ""

    def in_pool(self) -> set[str]:
        """Return the runs that have a pool slot, or wait for one."""
        return runs_in_pool(self.instance)

    def _new(self) -> list[Path]:
        return [path for path in self._folder.glob("*.pid") if path.stem not in self._met]


@pytest.fixture
def processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Processes]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with Processes(tmp_path) as started:
        yield started


def test_killed_runs_have_failed_and_freed_slots_for_others(processes: Processes) -> None:
    """Ten runs are killed; they have failed and given up their pool slots when others start."""
    dead = processes.killed(*JOB, times=10)
    assert processes.statuses(dead) == {STARTED}
    assert processes.in_pool() == set(dead)
    processes.go()
    others = [processes.start(*command) for command in (JOB, ASSET)]
    assert [ended(other) for other in others] == [0, 0]
    assert processes.statuses(dead) == {FAILURE}
    assert processes.statuses() == {FAILURE, SUCCESS}
    assert all("start it again" in processes.message(run_id) for run_id in dead)
    assert processes.in_pool() == set()


def test_a_live_run_is_never_taken_for_dead(
    processes: Processes,
) -> None:
    """It is not while it works, nor while it waits for a pool slot, nor as it ends."""
    processes.instance.event_log_storage.set_concurrency_slots(POOL, 1)
    both = [processes.start(*JOB)]
    (running,) = processes.waiting()
    both.append(processes.start(*JOB))
    until(lambda: len(processes.in_pool()) == 2)
    assert {MARK_TAG in run.tags for run in processes.instance.get_runs()} == {True}
    assert processes.statuses() == {STARTED}
    reported = report_dead_runs(processes.instance, processes.locks)
    processes.go()

    def over() -> bool:
        reported.extend(report_dead_runs(processes.instance, processes.locks))
        return all(process.poll() is not None for process in both)

    until(over)
    assert (reported, [process.returncode for process in both]) == ([], [0, 0])
    assert processes.statuses() == {SUCCESS}
    assert running.run_id != processes.waiting()[0].run_id


def test_the_daemon_reports_runs_only_once_they_are_killed(
    processes: Processes,
) -> None:
    """It reports a killed run, and the run that it launches itself only once that is killed too."""
    (dead,) = processes.killed(*ASSET)
    daemon = processes.run(str(Path(sys.executable).with_name("dagster-daemon")), "run", *DEFINITIONS)
    until(lambda: processes.statuses([dead]) == {FAILURE})
    assert "it was killed" in processes.message(dead)
    assert ended(processes.start("job", "launch", "-j", "waiting_job", *DEFINITIONS)) == 0
    (launched,) = processes.waiting()
    assert report_dead_runs(processes.instance, processes.locks) == []
    os.kill(launched.pid, signal.SIGKILL)
    until(lambda: processes.statuses([launched.run_id]) == {FAILURE})
    daemon.terminate()
    assert ended(daemon) == 0
