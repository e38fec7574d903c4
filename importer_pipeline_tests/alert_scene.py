"""Five clients in trouble, and a real daemon that tells a failing webhook: whom it names, when, and what that delays.

`python -m importer_pipeline_tests.alert_scene --clients 1000` takes about a quarter of an hour. With few clients and a
quicker sensor it is a test (`acceptance/test_alerts_served.py`). An hour passes at Mailchimp with each tick of the
schedules.
"""

import argparse
import re
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from importer_pipeline.clients.shards import Shard
from importer_pipeline.defs.event_log import newest_materializations
from importer_pipeline.defs.names import status_key
from importer_pipeline.sandbox.children import DAYS, TOLERANCE_VARIABLE
from importer_pipeline_tests.support.alert_outcome import Named, Outcome
from importer_pipeline_tests.support.clients_in_trouble import ClientsInTrouble
from importer_pipeline_tests.support.commands import Commands
from importer_pipeline_tests.support.patience import crowding, until
from importer_pipeline_tests.support.processes import let_children_be_interrupted
from importer_pipeline_tests.support.served import start_daemon
from importer_pipeline_tests.support.ticks import Ticks
from importer_pipeline_tests.support.webhook import Mood, Webhook

EVERY_FAILURE = (Mood.HANG, Mood.BROKEN, Mood.UNPLUGGED, Mood.DRIP, Mood.REDIRECT)

_UI = "https://importer.example.com"
_ALERTS = "client_alerts"
_NOTHING_SENT = ("no client has changed", "there is no new sync_status")
_CHECKS = ("on_time", "complete", "accepted", "quarantine_empty", "keys_accepted")
_CLIENT = re.compile(r"client-\d{4}")
_AHEAD_SECONDS = 5.0
"""Seconds from the end of an hour to the tick that imports it."""
_HOURS_BEHIND, _LATE_AFTER_HOURS = 24, 28
"""More hours than there are ticks; the client that is late is eight more behind."""
_WAIT_SECONDS = 200.0
_POLL_SECONDS = 2.0


def play(
    folder: Path,
    *,
    clients: int,
    tick_minutes: int,
    failures: Sequence[Mood] = EVERY_FAILURE,
    module: str = "importer_pipeline",
) -> Outcome:
    """Play the scene.

    Args:
        folder: for all files.
        clients: how many.
        tick_minutes: from one tick of the schedules to the next. Most of it has to suffice for a run with all clients.
        failures: of the webhook, before it accepts the first message.
        module: the code location.
    """
    with pytest.MonkeyPatch.context() as patch, Webhook() as webhook:
        for name, value in _variables(folder, webhook, tick_minutes).items():
            patch.setenv(name, value)
        with (
            Commands(folder, folder / "clients.yaml", module=module) as commands,
            ClientsInTrouble(folder, commands.instance, clients=clients, hours_behind=_HOURS_BEHIND) as some,
            _hours_passing(some, tick_seconds=60 * tick_minutes),
        ):
            _tell(f"{clients} clients are synced in full")
            start_daemon(commands)
            return _Scene(some, commands.instance, webhook).play(failures)


class _Scene:
    """The scene, once the daemon has started."""

    def __init__(self, some: ClientsInTrouble, instance: dg.DagsterInstance, webhook: Webhook) -> None:
        self._some = some
        self._instance = instance
        self._webhook = webhook
        self._ticks = Ticks(instance)

    def play(self, failures: Sequence[Mood]) -> Outcome:
        """Let the webhook fail, work, and fail once more after all has been mended."""
        set_at, began = self._fail(failures[0])
        said = {failures[0].value: self._not_sent(after=set_at)}
        said |= {mood.value: self._not_sent(after=self._set(mood)) for mood in failures[1:]}
        worked, crowded = time.time(), crowding()
        self._accepted(messages=1)
        named, asked = self._named(), self._webhook.asked
        self._said_after(time.time(), "no client has changed")
        asked_again = self._webhook.asked - asked
        self._some.mend()
        assert self._some.redrive().success
        _tell("mended")
        set_at, failed_again = self._fail(Mood.BROKEN)
        said[f"{Mood.BROKEN.value} after mending"] = self._not_sent(after=set_at)
        worked_again = time.time()
        self._accepted(messages=2)
        self._said_after(time.time(), *_NOTHING_SENT)
        return Outcome(
            in_trouble=frozenset({self._some.revoked, self._some.late, *self._some.refused}),
            named=named,
            named_at_end=self._named(),
            messages=list(self._webhook.texts),
            linked=[self._linked(text) for text in self._webhook.texts],
            said=said,
            asked_again=asked_again,
            late=self._ticks.late((began, worked), (failed_again, worked_again)),
            late_usually=self._ticks.late((worked, failed_again), (worked_again, time.time())),
            ticks=self._ticks.counts(),
            crowding=max(crowded, crowding()),
        )

    def _set(self, mood: Mood) -> float:
        """Set what the webhook does; return when."""
        self._webhook.mood = mood
        return time.time()

    def _fail(self, mood: Mood) -> tuple[float, float]:
        """Let the webhook fail; return when that was set, and when the next message came to it: delays begin then."""
        set_at, asked = self._set(mood), self._webhook.asked
        until(lambda: self._webhook.asked > asked, seconds=_WAIT_SECONDS)
        return set_at, time.time()

    def _not_sent(self, *, after: float) -> str:
        """Wait for a tick that began after a moment and could not send its message; return what it says."""
        return self._said_after(after, "not sent, and tried again at the next tick: the webhook")

    def _accepted(self, *, messages: int) -> None:
        self._set(Mood.ACCEPT)
        until(lambda: len(self._webhook.texts) >= messages, seconds=_WAIT_SECONDS)
        _tell(f"message {messages} came")

    def _said_after(self, moment: float, *texts: str) -> str:
        """Wait for a tick of the alerts after that moment which says one of these; return all that it says."""
        found = list[str]()

        def is_said() -> bool:
            ticks = self._ticks.skipped(_ALERTS, after=moment)
            found.extend(said for said in ticks if any(text in said for text in texts))
            return bool(found)

        until(is_said, seconds=_WAIT_SECONDS, look_every_seconds=_POLL_SECONDS)
        _tell(found[0])
        return found[0]

    def _named(self) -> Named:
        status = status_key(Shard())
        record = newest_materializations(self._instance, [status])[status]
        table = None if record is None else record.values["worst_audiences"]
        assert isinstance(table, dg.TableMetadataValue)
        rows = [row.data for row in table.records]
        red = {it.asset_key.path[0] for it in self._some.evaluations(*self._some.stage.clients) if not it.passed}
        keys = [dg.AssetCheckKey(status, name) for name in _CHECKS]
        for key, found in self._instance.event_log_storage.get_latest_asset_check_execution_by_key(keys).items():
            assert found.evaluation is not None, key
            red |= set() if found.evaluation.passed else set(_CLIENT.findall(found.evaluation.description or ""))
        return Named(
            table=frozenset(
                str(row["client"]) for row in rows if row["state"] != "well" or row["in_quarantine"] != "0"
            ),
            checks=frozenset(red),
        )

    def _linked(self, text: str) -> str:
        """Return the job of the run that a message leads to."""
        run = self._instance.get_run_by_id(text.rpartition(f"{_UI}/runs/")[2])
        return "" if run is None else run.job_name


@contextmanager
def _hours_passing(some: ClientsInTrouble, *, tick_seconds: int) -> Generator[None]:
    """Let an hour of Mailchimp's pass shortly before each tick of the schedules."""
    is_over = threading.Event()

    def pass_hours() -> None:
        while not is_over.wait(tick_seconds - (time.time() + _AHEAD_SECONDS) % tick_seconds):
            some.pass_hour(within_seconds=tick_seconds)

    thread = threading.Thread(target=pass_hours)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _variables(folder: Path, webhook: Webhook, tick_minutes: int) -> dict[str, str]:
    return {
        "XDG_STATE_HOME": str(folder / "state"),
        "IMPORTER_HOURLY": "on",
        "IMPORTER_HOURLY_CRON": f"*/{tick_minutes} * * * *",
        "IMPORTER_LATE_AFTER_HOURS": str(_LATE_AFTER_HOURS),
        "IMPORTER_ALERT_WEBHOOK": webhook.url,
        "IMPORTER_UI_URL": f"{_UI}/",
        TOLERANCE_VARIABLE: DAYS,
    }


def _tell(text: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", flush=True)


def main() -> int:
    """Play the scene with as many clients as the command line says. The exit code is 0 if all is as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--tick-minutes", type=int, default=2, help="from one tick of the schedules to the next")
    chosen = parser.parse_args()
    let_children_be_interrupted()
    with tempfile.TemporaryDirectory(prefix="importer-alerts-") as folder:
        outcome = play(Path(folder), clients=chosen.clients, tick_minutes=chosen.tick_minutes)
    print(outcome)
    print(*(f"WRONG: {fault}" for fault in outcome.faults), sep="\n")
    return 1 if outcome.faults else 0


if __name__ == "__main__":
    sys.exit(main())
