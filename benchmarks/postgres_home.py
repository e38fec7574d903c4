"""Dagster with its own Postgres, and the commands of several shards there."""

import shutil
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from benchmarks.commands import ROOT, Command
from importer_pipeline.clients.shards import Shard
from importer_pipeline_tests.support.postgres import Postgres, postgres_server

MAX_SECONDS = 1500.0
"""Of a job with thousands of clients."""


class PostgresHome:
    """A DAGSTER_HOME whose events are in Postgres, as deployed.

    Attributes:
        postgres: the server.
        database: the database with the events.
        folder: DAGSTER_HOME.
    """

    def __init__(self, folder: Path, postgres: Postgres) -> None:
        self.folder = folder
        self.postgres = postgres
        self.database = postgres.new_database()
        shutil.copy(ROOT / "deploy" / "dagster.yaml", folder)

    def environment(self, clients: Path, shard: Shard = Shard()) -> dict[str, str]:  # noqa: B008
        """Return the environment of a process of the deployment."""
        return {
            "DAGSTER_HOME": str(self.folder), "DAGSTER_PG_HOST": "127.0.0.1",
            "DAGSTER_PG_PORT": str(self.postgres.port), "DAGSTER_PG_DB": self.database,
            "DAGSTER_PG_USERNAME": "postgres", "DAGSTER_PG_PASSWORD": "",
            "IMPORTER_CLIENTS": str(clients), "IMPORTER_SHARD": str(shard),
        }  # fmt: skip

    @property
    def megabytes(self) -> float:
        """Size of the database."""
        ((size,),) = self.postgres.execute("SELECT pg_database_size(:name)", name=self.database)
        return size / 1e6


@contextmanager
def postgres_home() -> Generator[PostgresHome]:
    """Set up such a home, and its Postgres, for the `with` block."""
    with tempfile.TemporaryDirectory(prefix="importer-bench-home-") as folder, postgres_server() as postgres:
        yield PostgresHome(Path(folder), postgres)


def start_job(home: PostgresHome, job: str, clients: Path, config: Mapping[str, Any], shard: Shard) -> Command:
    """Start `dagster job execute` of one shard."""
    name = f"{job}-{shard.index}-of-{shard.count}-{time.monotonic_ns()}"
    file = home.folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(dict(config)), encoding="utf-8")
    command = ["dagster", "job", "execute", "-m", "importer_pipeline", "-j", job, "--config", str(file)]
    return Command(command, home.environment(clients, shard), home.folder / f"{name}.txt")


def run_shards(
    home: PostgresHome, job: str, clients: Path, config: Mapping[str, Any], shards: Sequence[Shard]
) -> tuple[float, float]:
    """Run a job of several shards at once; return the seconds until all have ended, and their CPU seconds."""
    started = [start_job(home, job, clients, config, shard) for shard in shards]
    ends = [each.ended(longest_seconds=MAX_SECONDS) for each in started]
    return max(end.wall_seconds for end in ends), sum(end.cpu_seconds for end in ends)
