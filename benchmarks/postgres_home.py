"""Dagster over a Postgres of its own, and the commands of several shards there."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import yaml

from benchmarks.commands import ROOT
from benchmarks.rows import BenchmarkFailed
from importer_pipeline.shards import Shard
from importer_pipeline_tests.postgres import Postgres, postgres_server

_LONGEST_SECONDS = 1500


class PostgresHome:
    """A DAGSTER_HOME whose events are in Postgres, as deployed.

    Attributes:
        postgres: the server.
        database: where the events are.
        folder: DAGSTER_HOME.
    """

    def __init__(self, folder: Path, postgres: Postgres) -> None:
        self.folder = folder
        self.postgres = postgres
        self.database = postgres.new_database()
        (folder / "dagster.yaml").write_text((ROOT / "deploy" / "dagster.yaml").read_text(encoding="utf-8"))

    def environment(self, clients: Path, shard: Shard = Shard()) -> dict[str, str]:  # noqa: B008
        """What a process of the deployment has."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DAGSTER_", "IMPORTER_"))}
        return kept | {
            "DAGSTER_HOME": str(self.folder), "DAGSTER_PG_HOST": "127.0.0.1", "DAGSTER_PG_PORT": str(self.postgres.port),
            "DAGSTER_PG_DB": self.database, "DAGSTER_PG_USERNAME": "postgres", "DAGSTER_PG_PASSWORD": "",
            "IMPORTER_CLIENTS": str(clients), "IMPORTER_SHARD": str(shard), "PYTHONPATH": str(ROOT),
        }  # fmt: skip

    @property
    def megabytes(self) -> float:
        """How large the database is."""
        ((size,),) = self.postgres.execute("SELECT pg_database_size(:name)", name=self.database)
        return size / 1e6


@contextmanager
def postgres_home() -> Generator[PostgresHome]:
    """Such a home, and its Postgres, while the `with` block runs."""
    with tempfile.TemporaryDirectory(prefix="importer-bench-home-") as folder, postgres_server() as postgres:
        yield PostgresHome(Path(folder), postgres)


class Command:
    """A process that has started, with what it takes.

    Args:
        command: what is run.
        environment: its environment.
        log: where its output goes.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as output:
            self._started = time.monotonic()
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command], cwd=log.parent, env=dict(environment), stdout=output, stderr=output
            )

    def ended(self, *, fails: bool | None = False) -> tuple[float, float]:
        """Wait until it has ended: seconds of wall time and of CPU. How it is to end, or None for either way."""
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        if fails is not None and bool(self.process.returncode) is not fails:
            last = "\n".join(self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
            raise BenchmarkFailed(f"exit code {self.process.returncode}\n{last}")
        return time.monotonic() - self._started, usage.ru_utime + usage.ru_stime

    def megabytes(self) -> float:
        """The memory that it and its children have in RAM."""
        own = psutil.Process(self.process.pid)
        total = 0
        for process in (own, *own.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
        return total / 1e6

    def kill(self) -> None:
        """End it and its children."""
        own = psutil.Process(self.process.pid)
        for process in (own, *own.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()


def start_job(home: PostgresHome, job: str, clients: Path, config: Mapping[str, Any], shard: Shard) -> Command:
    """`dagster job execute` of one shard."""
    name = f"{job}-{shard.index}-of-{shard.count}-{time.monotonic_ns()}"
    file = home.folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(dict(config)), encoding="utf-8")
    command = ["dagster", "job", "execute", "-m", "importer_pipeline", "-j", job, "--config", str(file)]
    return Command(command, home.environment(clients, shard), home.folder / f"{name}.txt")


def run_shards(
    home: PostgresHome, job: str, clients: Path, config: Mapping[str, Any], shards: Sequence[Shard]
) -> tuple[float, float]:
    """A job of several shards at the same time: seconds until all have ended, and of CPU of all."""
    started = [start_job(home, job, clients, config, shard) for shard in shards]
    ends = [each.ended() for each in started]
    return max(wall for wall, _ in ends), sum(cpu for _, cpu in ends)
