"""Fixtures for tests of the shipped deployment."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from importer_pipeline_tests.support.deployed_world import World
from importer_pipeline_tests.support.postgres import Postgres
from importer_pipeline_tests.support.stage import Stage

NAMES = ("acme", "globex", "hooli", "initech", "umbrella", "vandelay")


@pytest.fixture
def dagster_database(postgres: Postgres) -> Iterator[str]:
    """Return an empty one, as docs/deploy.md asks for."""
    postgres.execute("CREATE ROLE dagster LOGIN PASSWORD 'any'")
    postgres.execute("CREATE DATABASE dagster OWNER dagster")
    yield "dagster"
    postgres.drop_database("dagster")
    postgres.execute("DROP ROLE dagster")


@pytest.fixture
def deployed_world(tmp_path: Path) -> Iterator[World]:
    stage = Stage(tmp_path)
    for name in NAMES:
        stage.add(name, contacts=30)
    with stage:
        yield World(stage)
