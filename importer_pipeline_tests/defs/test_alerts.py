"""Alerts: when their sensor runs. What it sends, and when, is `acceptance/test_alerts_served.py`."""

import dagster as dg
import pytest
from pydantic import SecretStr

from importer_pipeline.definitions import build_defs
from importer_pipeline.defs.settings import Settings
from importer_pipeline_tests.defs.declared import client, declared


@pytest.mark.parametrize(
    ("url", "status"),
    [(None, dg.DefaultSensorStatus.STOPPED), ("http://localhost", dg.DefaultSensorStatus.RUNNING)],
)
def test_it_is_off_unless_a_webhook_is_set(url: str | None, status: dg.DefaultSensorStatus) -> None:
    settings = Settings(alert_webhook=None if url is None else SecretStr(url))
    made = build_defs(declared(client("acme")), settings).resolve_sensor_def("client_alerts")
    assert made.default_status is status
