"""What the environment says of a deployment; who the clients are is `clients`."""

import os
from datetime import UTC, datetime
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from importer_pipeline.clients.shards import Shard, parse_shard
from importer_pipeline.errors import SettingsInvalid
from importer_pipeline.planning.chain import View
from importer_pipeline.planning.pausing import PauseRule

SecretOrText = TypeVar("SecretOrText", SecretStr, SecretStr | None, str)


def _shard(written: object) -> object:
    shard = parse_shard(written) if isinstance(written, str) else written
    if shard is None:
        raise ValueError("expected a shard and how many there are, counted from 0, such as 0/4 or 3/4")
    return shard


def _web_address(written: SecretOrText) -> SecretOrText:
    url = written.get_secret_value() if isinstance(written, SecretStr) else written
    if url and not url.startswith(("http://", "https://")):
        raise ValueError("expected a URL that begins with http:// or https://")
    return written


class Settings(BaseModel):
    """A deployment's settings, each an environment variable: `hourly_cron` is IMPORTER_HOURLY_CRON."""

    model_config = ConfigDict(frozen=True)

    hourly: Literal["on", "off"] = "off"
    """True if the hourly schedules run without being turned on: on a server, not on a laptop."""
    hourly_cron: str = "7 * * * *"
    """Cron expression of the hourly schedules, in UTC."""
    months_in_view: int = Field(default=3, ge=1, le=120)
    """Months before the present one whose hours are partitions."""

    clock_tolerance_minutes: float = Field(default=15, gt=10)
    """Maximum difference between Mailchimp's clock and this machine's; clocks that are ten minutes off are in use."""
    late_after_hours: float = Field(default=3, gt=0)
    """Lag from which an audience is late."""
    known_failures: Literal["listed", "red"] = "listed"
    """`listed` if audiences that failed in the last run for the same reason do not make `incremental_sync` fail."""
    pause_after_failures: int = Field(default=24, ge=0)
    """Ticks in a row with a refused key after which the schedules ask an account once a day only; 0 for never."""
    alert_webhook: Annotated[SecretStr | None, AfterValidator(_web_address)] = None
    """Slack-compatible webhook for alerts; None for no alerts."""
    ui_url: Annotated[str, AfterValidator(_web_address)] = ""
    """URL of Dagster's UI, for links in alerts; "" for none."""
    shard: Annotated[Shard, BeforeValidator(_shard)] = Shard()
    """Share of the clients that this code location has, like 0/4."""

    @property
    def late_after_seconds(self) -> float:
        """Seconds of lag from which an audience is late."""
        return self.late_after_hours * 3600

    @property
    def pause_rule(self) -> PauseRule:
        """The rule by which accounts with refused keys are paused."""
        return PauseRule(after_ticks=self.pause_after_failures)

    def first_hour(self, now: datetime) -> datetime:
        """The first of the hours that are partitions: those of whole months, so that it seldom moves."""
        months = now.astimezone(UTC).year * 12 + now.astimezone(UTC).month - 1 - self.months_in_view
        return datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC)

    def view(self, now: datetime) -> View:
        """Return which evidence of earlier runs counts at a moment."""
        oldest = int(self.first_hour(now).timestamp())
        return View(now=now.timestamp(), oldest=oldest, tolerance_seconds=self.clock_tolerance_minutes * 60)


def settings_from_environment() -> Settings:
    """Read the settings from the environment. An empty variable counts as not set.

    Raises:
        SettingsInvalid: a variable has a value that it can't have. The message names all such.
    """
    given = {name: value for name in Settings.model_fields if (value := os.environ.get(_variable(name)))}
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        problems = error.errors(include_input=False)
        wrong = [f"{_variable(str(problem['loc'][0]))}: {problem['msg']}" for problem in problems]
        raise SettingsInvalid("; ".join(wrong), remedy="correct the environment variable, or unset it") from None


def _variable(name: str) -> str:
    return f"IMPORTER_{name.upper()}"
