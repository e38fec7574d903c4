"""A full sync that is told to end: by SIGTERM, as by Terminate and by a machine that goes down, or by Ctrl-C."""

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
"""Five is what is promised; a crowded machine takes its time besides."""

CANCELED = dg.DagsterRunStatus.CANCELED


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldClient]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with held_client(tmp_path) as client:
        yield client


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_it_is_canceled_though_mailchimp_does_not_answer_and_the_next_one_asks_again_for_what_was_on_the_wire_at_most(
    acme: HeldClient, number: signal.Signals
) -> None:
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


def test_every_window_that_the_target_has_is_reported_though_its_answer_was_still_to_come(acme: HeldClient) -> None:
    acme.let_target_answer_after(seconds=0.4)
    process = acme.commands.start_full_sync(acme.config)
    until(lambda: len(acme.reported) >= 1 and len(acme.whole_at_target) > len(acme.reported))
    process.terminate()
    ended(process, seconds=STOP_SECONDS)
    assert acme.commands.statuses == [CANCELED]
    assert len(acme.keys) > len(acme.whole_at_target) > 10
    assert acme.reported == acme.whole_at_target


def test_a_full_sync_that_waits_for_a_busy_account_is_canceled_and_has_asked_for_nothing(
    acme: HeldClient,
) -> None:
    asked = acme.let_go().asked
    with acme.account_taken() as taken:
        process = acme.commands.start_full_sync(acme.config)
        until(lambda: bool(acme.commands.said("waiting for other syncs")))
        process.terminate()
        ended(process, seconds=STOP_SECONDS)
    assert taken
    assert acme.commands.statuses == [CANCELED]
    assert (asked, acme.commands.in_pool) == ([], set())
