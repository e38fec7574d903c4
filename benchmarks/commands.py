"""A user's commands in separate processes, with the wall time, CPU and memory that they took."""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.rows import BenchmarkFailed
from importer_pipeline.sandbox.children import DAYS, TOLERANCE_VARIABLE
from importer_pipeline_tests.support.processes import neutral_environment
from importer_pipeline_tests.support.usage import wait_for

ROOT = Path(__file__).parents[1]
_MAX_SECONDS = 240
_DONE = re.compile(r"(\d+) contacts read(?: \(.*?\))?, (\d+) accepted, \d+ refused, (\d+) windows?, (\d+) requests")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A command that succeeded.

    Attributes:
        wall_seconds: from its start to its end.
        cpu_seconds: of the process and its children, the interpreter's start included.
        peak_megabytes: maximum memory that it had in RAM at once.
        output: its output.
    """

    wall_seconds: float
    cpu_seconds: float
    peak_megabytes: float
    output: str

    @property
    def contacts(self) -> int:
        """Number of contacts that the target took, by the run's own log."""
        return sum(int(found[1]) for found in _DONE.findall(self.output))

    @property
    def windows(self) -> int:
        """Number of windows of all audiences, by the run's own log."""
        return sum(int(found[2]) for found in _DONE.findall(self.output))


def full_sync(clients: Path) -> Ran:
    """Run `dagster job execute -m importer_pipeline -j full_sync` with an empty DAGSTER_HOME."""
    with new_home() as home:
        return job("full_sync", clients=clients, home=home)


def job(name: str, *, clients: Path, home: Path, config: Mapping[str, Any] | None = None, fails: bool = False) -> Ran:
    """Run `dagster job execute -m importer_pipeline -j <name>`.

    Args:
        name: the job.
        clients: the clients file.
        home: DAGSTER_HOME.
        config: the run's config.
        fails: True if the run must fail.
    """
    command = ["dagster", "job", "execute", "-m", "importer_pipeline", "-j", name]
    if config is not None:
        file = home / "config.yaml"
        file.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML, too.
        command += ["--config", str(file)]
    return _measured(command, clients, home, fails=fails)


@contextmanager
def new_home() -> Generator[Path]:
    """Make an empty DAGSTER_HOME for the `with` block."""
    with tempfile.TemporaryDirectory(prefix="importer-bench-home-") as home:
        shutil.copy(ROOT / "dagster.yaml", home)
        yield Path(home)


def validate(clients: Path) -> Ran:
    """Run `dagster definitions validate -m importer_pipeline`, which loads everything and imports nothing."""
    command = ["dagster", "definitions", "validate", "-m", "importer_pipeline"]
    with new_home() as home:
        return _measured(command, clients, home)


def module(name: str, *arguments: str, clients: Path) -> Ran:
    """Run `python -m <name>`."""
    with new_home() as home:
        return _measured([name, *arguments], clients, home)


class Command:
    """A started process, with its usage.

    Args:
        command: the arguments after `python -m`.
        environment: variables besides this process's own, less those of Dagster and the importer.
        log: the file for its output; its folder is the working directory.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        self._name = " ".join(command)
        # The clock of the sandbox may be hours off.
        variables = {**neutral_environment(), "PYTHONPATH": str(ROOT), TOLERANCE_VARIABLE: DAYS, **environment}
        with log.open("wb") as output:
            self._started = time.monotonic()
            self._process = subprocess.Popen(
                [sys.executable, "-m", *command], cwd=log.parent, env=variables, stdout=output, stderr=subprocess.STDOUT
            )

    def ended(self, *, fails: bool = False, longest_seconds: float = _MAX_SECONDS) -> Ran:
        """Wait until it has ended, but not for ever.

        Args:
            fails: True if it must fail.
            longest_seconds: time after which it is killed.

        Raises:
            BenchmarkFailed: it has not ended as expected.
        """
        patience = threading.Timer(longest_seconds, self._process.kill)
        patience.start()
        usage = wait_for(self._process)
        wall_seconds = time.monotonic() - self._started
        patience.cancel()
        printed = self._log.read_text(encoding="utf-8", errors="replace")
        if bool(self._process.returncode) is not fails:
            last = "\n".join(printed.splitlines()[-20:])
            raise BenchmarkFailed(f"exit code {self._process.returncode} of {self._name}\n{last}")
        return Ran(
            wall_seconds=wall_seconds, cpu_seconds=usage.cpu_seconds, peak_megabytes=usage.peak_megabytes,
            output=printed,
        )  # fmt: skip

    def megabytes(self) -> float:
        """Return the memory that it and its children have in RAM."""
        total = 0
        for process in self._family():
            with suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
        return total / 1e6

    def kill(self) -> None:
        """End it and its children."""
        for process in self._family():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()

    def _family(self) -> list[psutil.Process]:
        own = psutil.Process(self._process.pid)
        return [own, *own.children(recursive=True)]


def _measured(command: Sequence[str], clients: Path, home: Path, *, fails: bool = False) -> Ran:
    environment = {"DAGSTER_HOME": str(home), "IMPORTER_CLIENTS": str(clients)}
    return Command(command, environment, home / "output").ended(fails=fails)
