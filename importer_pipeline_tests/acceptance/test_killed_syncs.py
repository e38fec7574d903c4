"""A full sync whose process is killed in the middle, and the same command once more."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from importer_pipeline_tests.support.held_client import HeldClient, held_client
from importer_pipeline_tests.support.patience import until

CONNECTIONS = 10


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldClient]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with held_client(tmp_path) as client:
        yield client


def test_the_next_sync_repeats_at_most_what_was_in_flight(acme: HeldClient) -> None:
    """It also reports the dead run."""
    first = acme.hold(after_pages=30, seconds=4)
    process = acme.commands.start_full_sync(acme.config)
    until(lambda: len(acme.reported) >= 30)
    process.kill()
    process.wait()
    reported = acme.reported
    assert acme.commands.statuses == [dg.DagsterRunStatus.STARTED]
    assert 0 < len(set(first.windows) - reported) <= CONNECTIONS

    second = acme.let_go()
    assert acme.commands.full_sync(acme.config) == 0
    assert acme.commands.statuses == [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS]
    assert 0 < len(second.asked) <= len(acme.keys - reported)  # Two neighbours that are missing may fit into one page.
    assert acme.reported == acme.keys
    assert acme.missing == set()
    assert acme.commands.in_pool == set()
