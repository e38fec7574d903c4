"""A full sync that is canceled: by SIGTERM, as by Terminate and by a machine that shuts down, or by Ctrl-C."""

import signal
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from importer_pipeline_tests.support.held_client import HeldClient, held_client
from importer_pipeline_tests.support.patience import ended, until
from importer_pipeline_tests.support.runs import full_sync

CONNECTIONS = 10
STOP_SECONDS = 15.0
"""Five are promised; a busy machine takes more."""

CANCELED = dg.DagsterRunStatus.CANCELED


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldClient]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with held_client(tmp_path) as client:
        yield client


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_a_sync_is_canceled_while_mailchimp_does_not_answer(acme: HeldClient, number: signal.Signals) -> None:
    """The next sync requests again at most what was in flight."""
    first = acme.hold(after_pages=30, seconds=5)
    process = acme.commands.start_full_sync(acme.config)
    until(lambda: len(acme.reported) >= 30 and len(first.asked) >= 30 + CONNECTIONS)
    process.send_signal(number)
    ended(process, seconds=STOP_SECONDS)
    reported = acme.reported
    assert acme.commands.statuses == [CANCELED]
    assert len(set(first.windows) - reported) <= CONNECTIONS
    with acme.account_taken() as is_free:
        assert (is_free, acme.commands.in_pool) == (True, set())

    second = acme.let_go()
    assert full_sync(acme.clients, acme.config, instance=acme.commands.instance).success
    assert len(second.asked) <= len(acme.keys - reported)
    assert acme.missing == set()


def test_a_canceled_sync_reports_every_delivered_window(acme: HeldClient) -> None:
    """Also those whose answer from the target was outstanding when the run was canceled."""
    acme.let_target_answer_after(seconds=0.4)
    process = acme.commands.start_full_sync(acme.config)
    until(lambda: len(acme.reported) >= 1 and len(acme.whole_at_target) > len(acme.reported))
    process.terminate()
    ended(process, seconds=STOP_SECONDS)
    assert acme.commands.statuses == [CANCELED]
    assert len(acme.keys) > len(acme.whole_at_target) > 10
    assert acme.reported == acme.whole_at_target


def test_a_waiting_full_sync_is_canceled_before_any_request(
    acme: HeldClient,
) -> None:
    """It waits for a busy account."""
    asked = acme.let_go().asked
    with acme.account_taken() as taken:
        process = acme.commands.start_full_sync(acme.config)
        until(lambda: bool(acme.commands.said("waiting for other syncs")))
        process.terminate()
        ended(process, seconds=STOP_SECONDS)
    assert taken
    assert acme.commands.statuses == [CANCELED]
    assert (asked, acme.commands.in_pool) == ([], set())
