"""A thousand clients, five of them in trouble: whom the status, its checks and the alerts name, and how long that takes.

The runs and the ticks of the sensor are in this process, through Dagster's own machinery.
"""

import os
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from pydantic import SecretStr

from benchmarks.rows import Row, at_most, beside, progress
from importer_pipeline.definitions import build_defs
from importer_pipeline.defs.settings import Settings
from importer_pipeline.sandbox.children import DAYS, TOLERANCE_VARIABLE
from importer_pipeline_tests.support.clients_in_trouble import ClientsInTrouble
from importer_pipeline_tests.support.runs import Ran, dagster_home
from importer_pipeline_tests.support.webhook import Mood, Webhook

_CLIENTS = 1000
_MAX_DELAY_SECONDS = 5.0


class _Alerts:
    """The ticks of `client_alerts`, one after another, as the daemon makes them."""

    def __init__(self, clients: ClientsInTrouble, webhook: Webhook) -> None:
        self._definitions = build_defs(clients.clients, Settings(alert_webhook=SecretStr(webhook.url)))
        self._instance = clients.instance
        self._cursor: str | None = None

    def tick(self) -> float:
        """Evaluate the sensor; return the seconds that it took."""
        sensor = self._definitions.resolve_sensor_def("client_alerts")
        context = dg.build_sensor_context(
            instance=self._instance, cursor=self._cursor, repository_def=self._definitions.get_repository_def()
        )
        began = time.monotonic()
        self._cursor = sensor.evaluate_tick(context).cursor
        return time.monotonic() - began


def trouble() -> list[Row]:
    """Measure the scene: trouble, the same again, and all well."""
    progress(f"trouble: {_CLIENTS} clients, a full sync")
    with _home() as (folder, instance), Webhook() as webhook:
        began = time.monotonic()
        with ClientsInTrouble(folder, instance, clients=_CLIENTS) as clients:
            synced = time.monotonic() - began
            alerts, expected = _Alerts(clients, webhook), {clients.revoked, clients.late, *clients.refused}
            progress("trouble: a run with five in trouble")
            first, hour_seconds = _timed(clients)
            failing = [_failed_tick(alerts, webhook, mood) for mood in (Mood.BROKEN, Mood.HANG, Mood.DRIP)]
            webhook.mood = Mood.ACCEPT
            tick = alerts.tick()
            progress("trouble: a run with the same five")
            second, again_seconds = _timed(clients)
            alerts.tick()
            messages = len(webhook.texts)
            progress("trouble: all mended")
            clients.mend()
            clients.redrive()
            last = clients.incremental_sync()
            alerts.tick()
            alerts.tick()
    return [
        beside("full sync of all", synced, "s"),
        _exactly("clients named by the table", _in_table(first), expected),
        _exactly("clients named by the message", _in_message(webhook.texts[0]), expected),
        at_most("newly in trouble in the next run", second.numbers("sync_status")["audiences_newly_in_trouble"], 0, ""),
        at_most("messages after the next run", messages, 1, ""),
        at_most("messages when all is mended", len(webhook.texts), 2, ""),
        at_most("in trouble then", _CLIENTS - last.numbers("sync_status")["audiences_in_time"], 0, ""),
        beside("run with five in trouble", hour_seconds, "s"),
        beside("run with the same five", again_seconds, "s"),
        beside("events of that run", len(second.log), ""),
        beside("tick that sends", tick, "s"),
        at_most("delay of a tick by a failing webhook", max(failing) - tick, _MAX_DELAY_SECONDS, "s"),
    ]


def _timed(clients: ClientsInTrouble) -> tuple[Ran, float]:
    began = time.monotonic()
    ran = clients.incremental_sync()
    return ran, time.monotonic() - began


def _failed_tick(alerts: _Alerts, webhook: Webhook, mood: Mood) -> float:
    webhook.mood = mood
    return alerts.tick()


def _in_table(ran: Ran) -> set[str]:
    """Return the clients that the table of the status has above those that are well."""
    rows = [record.data for record in ran.numbers("sync_status")["worst_audiences"].records]
    return {str(row["client"]) for row in rows if row["state"] != "well" or row["in_quarantine"] != "0"}


def _in_message(text: str) -> set[str]:
    return {line.split()[1] for line in text.splitlines() if line.startswith("•")}


def _exactly(what: str, seen: set[str], expected: set[str]) -> Row:
    return Row(what=what, seen=str(len(seen)), limit="exactly the five in trouble", kept=seen == expected)


@contextmanager
def _home() -> Generator[tuple[Path, dg.DagsterInstance]]:
    with tempfile.TemporaryDirectory(prefix="importer-trouble-") as made:
        folder = Path(made)
        os.environ["XDG_STATE_HOME"] = str(folder / "state")
        os.environ[TOLERANCE_VARIABLE] = DAYS  # A client is late by its clock.
        os.environ["DAGSTER_HOME"] = str(dagster_home(folder))
        with dg.DagsterInstance.get() as instance:
            yield folder, instance
