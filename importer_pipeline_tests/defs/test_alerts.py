"""Alerts, from the status of many clients to a webhook."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from pydantic import SecretStr

from importer_pipeline.definitions import build_defs
from importer_pipeline.defs.settings import Settings
from importer_pipeline_tests.conftest import NewInstance
from importer_pipeline_tests.defs.declared import client, declared
from importer_pipeline_tests.support.clients_in_trouble import ClientsInTrouble
from importer_pipeline_tests.support.webhook import Mood, Webhook

CLIENTS = 12
MAX_SECONDS = 5.0


@pytest.fixture
def some(tmp_path: Path, instance_of: NewInstance, monkeypatch: pytest.MonkeyPatch) -> Iterator[ClientsInTrouble]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with instance_of("sqlite") as instance, ClientsInTrouble(tmp_path, instance, clients=CLIENTS) as made:
        yield made


class Alerts:
    """The sensor's ticks, one after another, as the daemon makes them."""

    def __init__(self, some: ClientsInTrouble, webhook: Webhook) -> None:
        self.settings = Settings(alert_webhook=SecretStr(webhook.url), ui_url="https://importer.example.com/")
        self._some = some
        self._cursor: str | None = None

    def tick(self) -> str:
        """Evaluate it within 5 seconds; return what it says."""
        definitions = build_defs(self._some.clients, self.settings)
        sensor = definitions.resolve_sensor_def("client_alerts")
        context = dg.build_sensor_context(
            instance=self._some.instance, cursor=self._cursor, repository_def=definitions.get_repository_def()
        )
        began = time.monotonic()
        data = sensor.evaluate_tick(context)
        assert time.monotonic() - began < MAX_SECONDS
        self._cursor = data.cursor
        return data.skip_message or ""


def test_one_message_names_exactly_the_clients_in_trouble(
    some: ClientsInTrouble, caplog: pytest.LogCaptureFixture
) -> None:
    with Webhook() as webhook:
        alerts = Alerts(some, webhook)
        assert alerts.tick() == "there is no new sync_status"
        ran = some.incremental_sync()
        said = list[str]()
        with caplog.at_level(logging.DEBUG):
            for mood in (Mood.BROKEN, Mood.HANG, Mood.DRIP, Mood.REDIRECT):
                webhook.mood = mood
                said.append(alerts.tick())
        assert all(text.startswith("not sent, and tried again at the next tick: the webhook") for text in said)
        assert webhook.asked == 4  # No redirect is followed.
        assert not any("unspeakable" in text for text in (*said, *(it.getMessage() for it in caplog.records)))
        webhook.mood = Mood.ACCEPT
        assert alerts.tick() == "a message was sent"
        (text,) = webhook.texts
        assert text.startswith("5 clients in trouble:")
        named = {line.split()[1] for line in text.splitlines() if line.startswith("•")}
        assert named == {some.revoked, some.late, *some.refused}
        assert text.endswith(f"https://importer.example.com/runs/{ran.run_id}")
        assert "Mailchimp refuses the key" in text
        assert alerts.tick() == "there is no new sync_status"
        some.incremental_sync()
        assert alerts.tick() == "no client has changed"
        some.mend()
        assert some.redrive().success
        assert some.incremental_sync().success
        alerts.tick()
        alerts.tick()
        assert len(webhook.texts) == 2
        assert webhook.texts[1].startswith("Well again: client-0000, client-0001")
        assert "All clients are well." in webhook.texts[1]


@pytest.mark.parametrize(
    ("url", "status"),
    [(None, dg.DefaultSensorStatus.STOPPED), ("http://localhost", dg.DefaultSensorStatus.RUNNING)],
)
def test_it_is_off_unless_a_webhook_is_set(url: str | None, status: dg.DefaultSensorStatus) -> None:
    settings = Settings(alert_webhook=None if url is None else SecretStr(url))
    made = build_defs(declared(client("acme")), settings).resolve_sensor_def("client_alerts")
    assert made.default_status is status
