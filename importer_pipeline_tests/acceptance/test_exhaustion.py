"""This machine runs out of a resource: the run stops with one line that names it, and nothing is quarantined."""

import resource
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy
from sqlalchemy.exc import DBAPIError

from importer_pipeline.errors import MachineExhausted, Unavailable
from importer_pipeline.exhaustion import exhaustion_of
from importer_pipeline.http.wire import Limits, Wire
from importer_pipeline_tests.support.loopback import Loopback, reply
from importer_pipeline_tests.support.runs import (
    ROOT,
    dagster,
    dagster_home,
    full_sync,
    full_sync_command,
    outer_environment,
    run_config,
)
from importer_pipeline_tests.support.stage import Stage

LIMITED = """
import os, resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(getattr(resource, sys.argv[1]), (int(sys.argv[2]),) * 2)
os.execv(sys.executable, [sys.executable, "-m", "dagster", *sys.argv[3:]])
"""


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    stage = Stage(tmp_path)
    stage.add("acme", contacts=4000)
    with stage:
        yield stage


@pytest.mark.parametrize(
    ("limit", "value", "said"),
    [
        pytest.param("RLIMIT_NOFILE", 18, "`ulimit -n 4096`", id="files"),
        pytest.param("RLIMIT_FSIZE", 200_000, "free space on the disk of DAGSTER_HOME", id="disk"),
    ],
)
def test_a_command_that_runs_out_names_the_resource(
    stage: Stage, tmp_path: Path, limit: str, value: int, said: str
) -> None:
    """The next command resumes."""
    clients, home = stage.write(), dagster_home(tmp_path)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.get_runs()
        instance.event_log_storage.get_pool_limits()
    command = full_sync_command(tmp_path, run_config(mailchimp={"page_size": 50}))
    environment = {"PYTHONPATH": str(ROOT), "DAGSTER_HOME": str(home), "IMPORTER_CLIENTS": str(clients)}
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, limit, str(value), *command, "-m", "importer_pipeline"], cwd=tmp_path,
        env=outer_environment() | environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if said in line]
    assert lines, done.stderr
    assert "the next run resumes where this one stopped" in lines[0]
    again = dagster(*command, folder=tmp_path, clients=clients, home=home)
    assert (again.code, stage.missing("acme")) == (0, set())
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert instance.get_dynamic_partitions("quarantine") == []


def test_a_run_that_gets_no_threads_quarantines_nothing(stage: Stage) -> None:
    """Its message names the exhausted resource."""
    clients = stage.load()
    before = threading.stack_size(2**46)  # More than there is: no further thread can be started.
    try:
        with dg.DagsterInstance.ephemeral() as instance:
            ran = full_sync(clients, instance=instance)
            quarantined = instance.get_dynamic_partitions("quarantine")
    finally:
        threading.stack_size(before)
    assert ran.message.startswith("this process can't start more threads: raise the limit of processes")
    assert (ran.success, quarantined) == (False, [])


def test_running_out_of_files_is_no_failure_of_the_server() -> None:
    """No file descriptor is left for a request."""
    limits = Limits(connect_timeout_seconds=5, read_timeout_seconds=5, answer_timeout_seconds=5, body_limit_bytes=10)
    wire = Wire(limits=limits, error_of=lambda fault, _variable: Unavailable(fault.value))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Loopback(lambda _: [reply()]) as server:
        route = wire.route("GET", server.url, {})
        # Of the three standard streams, not of what is open now: other threads may close files in between.
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            with pytest.raises(MachineExhausted, match="can't open more files or connections: raise its limit"):
                wire.send(route, "/")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert wire.send(route, "/").status == 200
        wire.close()


def full_disk() -> None:
    with open("/dev/full", "w") as file:
        file.write("x")


def full_database() -> None:
    with sqlalchemy.create_engine("sqlite://").connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")
        connection.exec_driver_sql("CREATE TABLE numbers (number)")


def unwritable_database() -> None:
    with sqlalchemy.create_engine("sqlite://").connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only = on")
        connection.exec_driver_sql("CREATE TABLE numbers (number)")


def no_database() -> None:
    sqlalchemy.create_engine("sqlite:////proc/nowhere/runs.db").connect()


def no_memory() -> None:
    bytearray(2**62)


@pytest.mark.parametrize(
    ("happens", "said"),
    [
        (full_disk, "the disk is full"),
        (full_database, "the disk is full"),
        (unwritable_database, "can't be written to"),
        (no_database, "can't be opened"),
        (no_memory, "out of memory"),
    ],
)
def test_the_exhausted_resource_is_found_below_its_effects(happens: Callable[[], None], said: str) -> None:
    with pytest.raises((OSError, MemoryError, DBAPIError)) as caught:
        happens()
    wrapped = RuntimeError("a library's own")
    wrapped.__cause__ = caught.value
    for error in (caught.value, wrapped):
        found = exhaustion_of(error)
        assert found is not None
        assert said in found.problem
        assert found.remedy


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        ConnectionResetError(),
        OSError(),
        sqlite3.OperationalError("database is locked"),
        RuntimeError(),
    ],
    ids=repr,
)
def test_other_errors_are_no_exhaustion(error: Exception) -> None:
    assert exhaustion_of(error) is None


def test_errors_that_form_a_cycle_are_visited_once() -> None:
    one, other = ValueError(), ValueError()
    one.__cause__, other.__cause__ = other, one
    assert exhaustion_of(one) is None
