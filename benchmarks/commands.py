"""The commands that a user gives, as processes of their own, with what they took: wall time, CPU, memory."""

import json
import os
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
from importer_pipeline_tests.support.usage import wait_for

ROOT = Path(__file__).parents[1]
_MAX_SECONDS = 240
_DONE = re.compile(r"(\d+) contacts read, (\d+) accepted, \d+ refused, (\d+) windows?, (\d+) requests")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A command that went well.

    Attributes:
        wall_seconds: from its start to its end.
        cpu_seconds: of the process and its children, the interpreter's start included.
        peak_megabytes: the most memory that it had in RAM at once.
        output: what it printed.
    """

    wall_seconds: float
    cpu_seconds: float
    peak_megabytes: float
    output: str

    @property
    def contacts(self) -> int:
        """Contacts that the target took, by the run's own log."""
        return sum(int(found[1]) for found in _DONE.findall(self.output))

    @property
    def windows(self) -> int:
        """Windows of all audiences, by the run's own log."""
        return sum(int(found[2]) for found in _DONE.findall(self.output))


def full_sync(clients: Path) -> Ran:
    """`dagster job execute -m importer_pipeline -j full_sync` with a DAGSTER_HOME that has seen nothing yet."""
    with new_home() as home:
        return job("full_sync", clients=clients, home=home)


def job(name: str, *, clients: Path, home: Path, config: Mapping[str, Any] | None = None, fails: bool = False) -> Ran:
    """`dagster job execute -m importer_pipeline -j <name>`.

    Args:
        name: the job.
        clients: the clients file.
        home: DAGSTER_HOME.
        config: of the run.
        fails: whether the run is to end as failed.
    """
    command = ["dagster", "job", "execute", "-m", "importer_pipeline", "-j", name]
    if config is not None:
        file = home / "config.yaml"
        file.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML, too.
        command += ["--config", str(file)]
    return _measured(command, clients, home, fails=fails)


@contextmanager
def new_home() -> Generator[Path]:
    """A DAGSTER_HOME that has seen nothing yet, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="importer-bench-home-") as home:
        shutil.copy(ROOT / "dagster.yaml", home)
        yield Path(home)


def validate(clients: Path) -> Ran:
    """`dagster definitions validate -m importer_pipeline`: everything is loaded, nothing is run."""
    command = ["dagster", "definitions", "validate", "-m", "importer_pipeline"]
    with new_home() as home:
        return _measured(command, clients, home)


def module(name: str, *arguments: str, clients: Path) -> Ran:
    """`python -m <name>`."""
    with new_home() as home:
        return _measured([name, *arguments], clients, home)


class Command:
    """A process that has started, with what it takes.

    Args:
        command: what is run, as after `python -m`.
        environment: what it has besides this process's, which is without what would reach into a Dagster of its own.
        log: where its output goes; it is started beside it.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        self._name = " ".join(command)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DAGSTER_", "IMPORTER_"))}
        variables = {**kept, "PYTHONPATH": str(ROOT), **environment}
        with log.open("wb") as output:
            self._started = time.monotonic()
            self._process = subprocess.Popen(
                [sys.executable, "-m", *command], cwd=log.parent, env=variables, stdout=output, stderr=subprocess.STDOUT
            )

    def ended(self, *, fails: bool = False, longest_seconds: float = _MAX_SECONDS) -> Ran:
        """Wait until it has ended, but not for ever.

        Args:
            fails: whether it is to end as failed.
            longest_seconds: when it is killed.

        Raises:
            BenchmarkFailed: it has not ended as it should.
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
        """The memory that it and its children have in RAM."""
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
