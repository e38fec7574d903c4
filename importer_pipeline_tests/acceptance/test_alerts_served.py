"""Alerts as the daemon sends them: schedules, runs and sensors of its own, and a webhook that fails before it works."""

from pathlib import Path

from importer_pipeline_tests.alert_scene import play
from importer_pipeline_tests.support.webhook import Mood

FAILURES = (Mood.HANG, Mood.BROKEN, Mood.UNPLUGGED)
"""Those that differ for the daemon; `runner/test_webhook.py` has all."""


def test_the_daemon_tells_of_exactly_the_clients_in_trouble(tmp_path: Path) -> None:
    module = "importer_pipeline_tests.support.alert_location"
    outcome = play(tmp_path, clients=24, tick_minutes=1, failures=FAILURES, module=module)
    assert outcome.faults == []
