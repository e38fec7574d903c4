"""Fixtures for many tests: a Postgres, and Dagster instances that keep their events there or in SQLite."""

import os
import shutil
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager

import dagster as dg
import pytest
from hypothesis import settings

from importer_pipeline.sandbox.children import DAYS, TOLERANCE_VARIABLE
from importer_pipeline_tests.support.postgres import Postgres, postgres_server
from importer_pipeline_tests.support.processes import let_children_be_interrupted
from importer_pipeline_tests.support.quick_storage import keep_engines_and_migrations
from importer_pipeline_tests.support.runs import new_instance

_MEMORY = "/dev/shm"
_ROOM_BYTES = 4 * 2**30


def _memory_has_room() -> bool:
    """Return whether files of tests, programs among them, can be kept in memory."""
    if not os.access(_MEMORY, os.W_OK) or os.statvfs(_MEMORY).f_flag & os.ST_NOEXEC:
        return False
    return shutil.disk_usage(_MEMORY).free > _ROOM_BYTES


if _memory_has_room():
    # SQLite waits for the disk at each commit: half of the time of thousands of short runs.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", _MEMORY)
let_children_be_interrupted()
keep_engines_and_migrations()
settings.register_profile("busy machines", deadline=None)
settings.load_profile("busy machines")
os.environ[TOLERANCE_VARIABLE] = (
    DAYS  # Sandboxes' clocks are moved by days; what the tolerance does is tested by itself.
)

LONG = (
    "hourly_served",
    "alerts_served",
    "deploy_page",
    "simulation",
    "seeds_through_dagster",
    "compose",
    "wheel",
    "served",
    "hostile_neighbours",
    "first_run",
    "event_log_history",
    "chain_evidence",
    "command_line",
    "killed_runs",
)
"""Modules that take longest: they begin first, so that no worker is left with one of them when the others are done."""

NewInstance = Callable[[str], AbstractContextManager[dg.DagsterInstance]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the modules that take longest first."""
    order = {f"test_{name}.py": place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.fixture(scope="session", autouse=True)
def _state_home(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep lock files out of the user's own folder: tests leave thousands."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server, for as long as the tests run."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def database(postgres: Postgres) -> Iterator[str]:
    """Create a database with Dagster's tables; yield its name."""
    name = postgres.new_database()
    yield name
    postgres.drop_database(name)


@pytest.fixture
def instance_of(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NewInstance:
    """Return a factory of empty instances of a kind, `sqlite` or `postgres`."""

    @contextmanager
    def make(kind: str) -> Generator[dg.DagsterInstance]:
        if kind == "sqlite":
            with new_instance(tmp_path_factory) as made:
                yield made
            return
        postgres: Postgres = request.getfixturevalue("postgres")
        database: str = request.getfixturevalue("database")
        with postgres.instance(tmp_path_factory.mktemp("instance"), database) as made:
            yield made

    return make


@pytest.fixture(params=["sqlite", "postgres"])
def instance(request: pytest.FixtureRequest, instance_of: NewInstance) -> Iterator[dg.DagsterInstance]:
    """Return an empty instance of each kind."""
    with instance_of(request.param) as made:
        yield made
