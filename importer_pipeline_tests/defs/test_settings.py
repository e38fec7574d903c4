"""What the environment says of a deployment."""

from datetime import UTC, datetime

import pytest
from pydantic import SecretStr

from importer_pipeline.clients.shards import Shard
from importer_pipeline.defs.settings import Settings, settings_from_environment
from importer_pipeline.errors import SettingsInvalid
from importer_pipeline.sandbox.children import TOLERANCE_VARIABLE

VARIABLES = (
    "IMPORTER_HOURLY",
    "IMPORTER_HOURLY_CRON",
    "IMPORTER_MONTHS_IN_VIEW",
    "IMPORTER_SHARD",
    TOLERANCE_VARIABLE,
    "IMPORTER_LATE_AFTER_HOURS",
    "IMPORTER_KNOWN_FAILURES",
    "IMPORTER_PAUSE_AFTER_FAILURES",
    "IMPORTER_ALERT_WEBHOOK",
    "IMPORTER_UI_URL",
)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_a_laptop_starts_nothing_by_itself() -> None:
    assert settings_from_environment() == Settings()
    assert (Settings().hourly, Settings().hourly_cron, Settings().months_in_view) == ("off", "7 * * * *", 3)


def test_a_server_says_so(environment: pytest.MonkeyPatch) -> None:
    addresses = ("https://a.example/x", "https://b.example")
    for name, value in zip(
        VARIABLES, ("on", "23 * * * *", "1", "1/4", "20", "6", "red", "48", *addresses), strict=True
    ):
        environment.setenv(name, value)
    assert settings_from_environment() == Settings(
        hourly="on",
        hourly_cron="23 * * * *",
        months_in_view=1,
        shard=Shard(1, 4),
        clock_tolerance_minutes=20,
        late_after_hours=6,
        known_failures="red",
        pause_after_failures=48,
        alert_webhook=SecretStr("https://a.example/x"),
        ui_url="https://b.example",
    )


def test_an_empty_variable_is_not_set(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("IMPORTER_HOURLY", "")
    assert settings_from_environment() == Settings()


def test_all_problems_are_named_by_variable_and_not_by_value(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("IMPORTER_HOURLY", "perhaps")
    environment.setenv("IMPORTER_MONTHS_IN_VIEW", "0")
    with pytest.raises(SettingsInvalid) as caught:
        settings_from_environment()
    assert str(caught.value) == (
        "IMPORTER_HOURLY: Input should be 'on' or 'off'; "
        "IMPORTER_MONTHS_IN_VIEW: Input should be greater than or equal to 1: "
        "correct the environment variable, or unset it"
    )


@pytest.mark.parametrize(
    ("now", "months", "first"),
    [
        (datetime(2026, 11, 26, 17, tzinfo=UTC), 3, datetime(2026, 8, 1, tzinfo=UTC)),
        (datetime(2026, 2, 1, tzinfo=UTC), 3, datetime(2025, 11, 1, tzinfo=UTC)),
        (datetime(2026, 12, 31, 23, 59, tzinfo=UTC), 1, datetime(2026, 11, 1, tzinfo=UTC)),
        (datetime(2026, 1, 1, tzinfo=UTC), 12, datetime(2025, 1, 1, tzinfo=UTC)),
    ],
)
def test_the_hours_in_view_begin_with_a_month(now: datetime, months: int, first: datetime) -> None:
    assert Settings(months_in_view=months).first_hour(now) == first


@pytest.mark.parametrize("written", ["2/2", "1", "one/2", "-1/2", "0/0", "1/2/3", "1/ 2"])
def test_a_shard_that_can_not_be_is_refused_with_what_to_write(environment: pytest.MonkeyPatch, written: str) -> None:
    environment.setenv("IMPORTER_SHARD", written)
    with pytest.raises(SettingsInvalid, match=r"^IMPORTER_SHARD: .*counted from 0, such as 0/4 or 3/4"):
        settings_from_environment()


def test_a_webhook_that_is_no_url_is_refused_and_not_shown(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("IMPORTER_ALERT_WEBHOOK", "hooks.example.com/unspeakable")
    with pytest.raises(SettingsInvalid, match=r"IMPORTER_ALERT_WEBHOOK: .* begins with http") as caught:
        settings_from_environment()
    assert "unspeakable" not in str(caught.value)
    environment.setenv("IMPORTER_ALERT_WEBHOOK", "https://hooks.example.com/unspeakable")
    assert "unspeakable" not in repr(settings_from_environment())
