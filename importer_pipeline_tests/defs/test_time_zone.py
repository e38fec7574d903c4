"""Dagster's sessions of a database that is in another time zone, with the deployment's settings and without."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster_postgres import PostgresEventLogStorage, PostgresRunStorage, PostgresScheduleStorage

from importer_pipeline.defs.time_zone import time_zone_problem
from importer_pipeline_tests.support.postgres import Postgres
from importer_pipeline_tests.support.runs import ROOT, full_sync
from importer_pipeline_tests.support.stage import Stage

EXPECTED = {
    "connect_timeout": "10",
    "keepalives": "1",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "25000",
    "options": "-c timezone=UTC",
}


@pytest.fixture
def far(postgres: Postgres, database: str) -> str:
    """A database that is in another zone."""
    postgres.execute(f"ALTER DATABASE {database} SET timezone = 'Asia/Tokyo'")
    return database


@pytest.fixture
def deployed(
    tmp_path: Path, postgres: Postgres, far: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    """The instance of a deployment: with the settings in `deploy`."""
    shutil.copy(ROOT / "deploy" / "dagster.yaml", tmp_path)
    for name, value in {
        "HOST": "127.0.0.1", "PORT": str(postgres.port), "DB": far, "USERNAME": "postgres", "PASSWORD": "any %+&= sign",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"DAGSTER_PG_{name}", value)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield instance


def test_all_sessions_of_a_deployment_are_in_utc_with_timeouts(deployed: dg.DagsterInstance) -> None:
    storages = (deployed.run_storage, deployed.event_log_storage, deployed.schedule_storage)
    for storage in storages:
        assert isinstance(storage, PostgresRunStorage | PostgresEventLogStorage | PostgresScheduleStorage)
        events = isinstance(storage, PostgresEventLogStorage)
        with storage.index_connection() if events else storage.connect() as connection:
            assert connection.exec_driver_sql("SHOW timezone").scalar() == "UTC"
            driver: Any = connection.connection.dbapi_connection
            given = driver.get_dsn_parameters()
        assert {name: given.get(name) for name in EXPECTED} == EXPECTED


def test_a_deployments_runs_are_as_old_as_they_are(deployed: dg.DagsterInstance) -> None:
    deployed.add_run(dg.DagsterRun("any"))
    (record,) = deployed.get_run_records()
    assert abs(record.create_timestamp - datetime.now(UTC)) < timedelta(minutes=10)
    assert time_zone_problem(deployed) is None


def test_without_the_settings_a_run_reports_zone_and_remedy(tmp_path: Path, postgres: Postgres, far: str) -> None:
    stage = Stage(tmp_path)
    stage.add("acme")
    (home := tmp_path / "home").mkdir()
    with stage, postgres.instance(home, far) as instance:
        ran = full_sync(stage.load(), instance=instance)
    (warned,) = [line for line in ran.log if "Asia/Tokyo" in line.text]
    assert (ran.success, warned.level) == (True, 30)
    assert "copy `params` of deploy/dagster.yaml" in warned.text


@pytest.mark.parametrize(("zone", "is_utc"), [("Etc/UTC", True), ("Europe/London", False), ("America/Lima", False)])
def test_zones_that_equal_utc_for_half_the_year_are_not_utc(
    postgres: Postgres, database: str, tmp_path: Path, zone: str, is_utc: bool
) -> None:
    postgres.execute(f"ALTER DATABASE {database} SET timezone = '{zone}'")
    with postgres.instance(tmp_path, database) as instance:
        assert (time_zone_problem(instance) is None) == is_utc
