"""Two processes that need the same account at the same time."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from importer_pipeline_tests.support.commands import exit_codes
from importer_pipeline_tests.support.held_client import AUDIENCE, PAGE_SIZE, HeldClient, held_client
from importer_pipeline_tests.support.patience import until
from importer_pipeline_tests.support.runs import plan_windows, run_config

CONNECTIONS = 10
SUCCESS = dg.DagsterRunStatus.SUCCESS


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldClient]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with held_client(tmp_path) as client:
        yield client


def both_end_well(acme: HeldClient, both: list[subprocess.Popen[bytes]]) -> None:
    """Wait for two processes, the first of which has requests in flight when the second comes."""
    acme.hold(after_pages=0, seconds=1)
    until(lambda: bool(acme.commands.said("waiting for other syncs")))
    acme.hold(after_pages=0, seconds=0.2)
    assert exit_codes(both) == [0, 0]
    assert acme.most_in_progress == CONNECTIONS


def test_two_full_syncs_never_have_eleven_requests_in_flight(acme: HeldClient) -> None:
    """Both syncs succeed."""
    both_end_well(acme, [acme.commands.start_full_sync(acme.config) for _ in range(2)])
    assert acme.commands.statuses == [SUCCESS, SUCCESS]
    assert acme.missing == set()


def test_a_full_sync_and_launched_windows_share_ten_requests(acme: HeldClient) -> None:
    config = run_config(mailchimp={"page_size": PAGE_SIZE}, op="register_windows")
    assert plan_windows(acme.clients, config, instance=acme.commands.instance).success
    by_hand = ("asset", "materialize", "--select", f"{AUDIENCE}/contact_windows", "--partition-range", "0...800")
    both_end_well(acme, [acme.commands.start_full_sync(acme.config), acme.commands.start(*by_hand)])
    assert acme.commands.statuses == [SUCCESS, SUCCESS, SUCCESS]
    assert acme.reported == acme.keys
    assert acme.missing == set()
