"""The pipeline in separate processes that share one DAGSTER_HOME: commands, signals, and the events they leave.

Stays out: the clients that they import (see `stage` and `held_client`).
"""

import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import dagster as dg
import yaml
from dagster._core.execution.backfill import BulkActionStatus

from importer_pipeline.defs.names import windows_key
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.sandbox.children import environment
from importer_pipeline_tests.support.patience import ended
from importer_pipeline_tests.support.processes import Processes, end_group
from importer_pipeline_tests.support.runs import (
    ROOT,
    dagster_home,
    full_sync_command,
    job_command,
    logged,
    runs_in_pool,
)

_IN_PROCESS = re.compile(r"Executing steps in process \(pid: (\d+)\)")


class Commands:
    """A DAGSTER_HOME as the project sets it up, and the commands run with it; none outlives the `with` block.

    Args:
        folder: holds all of it.
        clients: the clients file.
        module: the code location; another than the package's own only where a test needs other settings.

    Attributes:
        instance: the instance with the commands' events.
    """

    def __init__(self, folder: Path, clients: Path, *, module: str = "importer_pipeline") -> None:
        self._folder = folder
        self._module = module
        home = dagster_home(folder)
        self._environment = {
            name: value for name, value in environment(clients, dagster_home=home).items() if name != "PYTHONPATH"
        } | {"PYTHONPATH": str(ROOT)}
        self._processes = Processes(folder)
        self._count = 0
        self.instance = dg.DagsterInstance.from_config(str(home))
        # The first access creates the databases, and Dagster does not support several first accesses at once.
        self.instance.get_runs()
        self.instance.event_log_storage.get_pool_limits()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._processes.__exit__(kind, error, trace)
        self.instance.dispose()

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start `dagster ...` on this package. Its output goes to a file, for analysing failures."""
        return self._start("dagster", *arguments, "-m", self._module)

    def start_daemon(self, *, port: int) -> subprocess.Popen[bytes]:
        """Start `dagster-daemon run` for the code server at a port of this machine."""
        workspace = self._folder / "workspace.yaml"
        served = {"grpc_server": {"host": "127.0.0.1", "port": port, "location_name": self._module}}
        workspace.write_text(yaml.safe_dump({"load_from": [served]}), encoding="utf-8")
        return self._start("dagster._daemon", "run", "-w", str(workspace))

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """Interrupt a command, and end whatever it started."""
        process.send_signal(signal.SIGINT)
        ended(process)
        end_group(process)

    def start_full_sync(self, config: Mapping[str, Any]) -> subprocess.Popen[bytes]:
        """Start `dagster job execute -j full_sync`."""
        return self.start(*full_sync_command(self._folder, config))

    def full_sync(self, config: Mapping[str, Any]) -> int:
        """Run it to its end; return the exit code."""
        return ended(self.start_full_sync(config))

    def start_job(self, job: str, config: Mapping[str, Any]) -> subprocess.Popen[bytes]:
        """Start `dagster job execute -j ...`."""
        return self.start(*job_command(job, self._folder, config))

    def run(self, job: str, config: Mapping[str, Any]) -> int:
        """Run it to its end; return the exit code."""
        return ended(self.start_job(job, config))

    @property
    def printed(self) -> str:
        """Output so far of the command that was started last."""
        return (self._folder / f"output-{self._count}.txt").read_text(encoding="utf-8", errors="replace")

    def latest(self, job: str) -> dg.DagsterRun | None:
        """Return the newest run of a job."""
        runs = self.instance.get_runs(dg.RunsFilter(job_name=job), limit=1)
        return runs[0] if runs else None

    def process_of(self, run_id: str) -> int | None:
        """Return the process that executes a run's steps; None before there is one."""
        for entry in self.instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
            found = _IN_PROCESS.search(entry.get_dagster_event().message or "")
            if found:
                return int(found[1])
        return None

    @property
    def quarantined(self) -> set[str]:
        """The partitions of the quarantine."""
        return set(self.instance.get_dynamic_partitions("quarantine"))

    @property
    def statuses(self) -> list[dg.DagsterRunStatus]:
        """Statuses of the runs, the oldest first."""
        return [run.status for run in self.instance.get_runs(ascending=True)]

    def status(self, run_id: str) -> dg.DagsterRunStatus:
        """Return the status of a run."""
        (run,) = self.instance.get_runs(dg.RunsFilter(run_ids=[run_id]))
        return run.status

    def backfill_status(self, backfill_id: str) -> BulkActionStatus:
        """Return the status of a backfill."""
        backfill = self.instance.get_backfill(backfill_id)
        assert backfill is not None
        return backfill.status

    def runs_of_backfill(self, backfill_id: str) -> Sequence[dg.DagsterRun]:
        """Return the runs of a backfill."""
        return self.instance.get_runs(dg.RunsFilter(tags={"dagster/backfill": backfill_id}))

    def windows(self, audience: str) -> set[str]:
        """Return the windows of an audience (`client/audience`) that are reported as imported."""
        return self.instance.get_materialized_partitions(windows_key(AudienceName(*audience.split("/"))))

    def said(self, text: str) -> list[str]:
        """Return the lines with that text in the logs of all runs."""
        return logged(self.instance, text)

    @property
    def in_pool(self) -> set[str]:
        """Runs that have a pool slot, or wait for one."""
        return runs_in_pool(self.instance)

    def _start(self, *module: str) -> subprocess.Popen[bytes]:
        self._count += 1
        return self._processes.start(f"output-{self._count}", [sys.executable, "-m", *module], self._environment)


def exit_codes(processes: Sequence[subprocess.Popen[bytes]]) -> list[int]:
    """Return the exit codes of the processes, once all have ended."""
    return [ended(process) for process in processes]
