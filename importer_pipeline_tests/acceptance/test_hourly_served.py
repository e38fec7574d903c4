"""Webserver, daemon and code server through some hours: failures are quarantined, killed runs are made up for."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from importer_pipeline.defs.names import windows_key
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline_tests.support.held_client import AUDIENCE, HeldClient, held_client
from importer_pipeline_tests.support.patience import ended, until
from importer_pipeline_tests.support.runs import run_config
from importer_pipeline_tests.support.served import ServedDagster, start_daemon

WINDOWS = windows_key(AudienceName(*AUDIENCE.split("/")))
FAILURE = dg.DagsterRunStatus.FAILURE
TICKS_SECONDS = 240.0
"""Limit for what a tick starts: there is one a minute, and the daemon is slow with runs and backfills."""


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldClient]:
    """Return one that was synced in full six hours ago by Mailchimp's clock; its schedules tick every minute."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("IMPORTER_HOURLY", "on")
    monkeypatch.setenv("IMPORTER_HOURLY_CRON", "* * * * *")
    with held_client(tmp_path, contacts=200) as client:
        client.go_back(hours=6)
        assert client.commands.full_sync(client.config) == 0
        yield client


def test_every_change_is_imported_as_hours_pass(acme: HeldClient) -> None:
    """Failures and kills in between lose nothing."""
    commands = acme.commands
    acme.let_hours_pass(2)
    assert acme.missing
    served = ServedDagster(commands)

    # The schedule fires.
    until(lambda: not acme.missing, seconds=TICKS_SECONDS)

    # Failures from the command line and the UI are quarantined and redriven.
    with acme.revoked():
        by_hand = commands.start("asset", "materialize", "--select", f"{AUDIENCE}/contact_windows", "--partition", "0")
        assert ended(by_hand) == 1
        served.launch_backfill(WINDOWS, ["40"])
        both = {f"{AUDIENCE}/contact_windows/{key}" for key in ("0", "40")}
        until(lambda: commands.quarantined == both, seconds=TICKS_SECONDS)
    assert commands.run("redrive_quarantine", run_config(op="retry_quarantined")) == 0
    assert commands.quarantined == set()

    # A run that is killed does not stop the next tick.
    held = acme.hold(after_pages=0, seconds=30)
    acme.let_hours_pass(1)
    until(lambda: bool(held.asked), seconds=TICKS_SECONDS)
    killed = commands.latest("incremental_sync")
    assert killed is not None
    pid = commands.process_of(killed.run_id)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    acme.let_go()
    until(lambda: not acme.missing, seconds=TICKS_SECONDS)
    assert commands.status(killed.run_id) is FAILURE

    # Changes while nothing runs are imported by the next process.
    commands.stop(served.process)
    acme.let_hours_pass(2)
    assert acme.missing
    start_daemon(commands)
    until(lambda: not acme.missing, seconds=TICKS_SECONDS)
    assert commands.quarantined == set()
