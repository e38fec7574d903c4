"""What a run's config sets of how the APIs are treated."""

from typing import Any

import pytest
from pydantic import ValidationError

from importer_pipeline.defs.resources import MailchimpResource, TargetResource, import_settings
from importer_pipeline.runner.importing import ImportSettings
from importer_pipeline.sandbox.children import TOLERANCE_VARIABLE


def test_the_resources_defaults_are_the_importers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(TOLERANCE_VARIABLE)
    ours, its = import_settings(MailchimpResource(), TargetResource()), ImportSettings()
    assert (ours.paging, ours.limits) == (its.paging, its.limits)


def test_every_setting_arrives() -> None:
    mailchimp = MailchimpResource(
        max_connections=7, page_size=500, retries=1, retry_pause_seconds=0.5, read_timeout_seconds=9.0,
        stall_minutes=2.5,
    )  # fmt: skip
    settings = import_settings(mailchimp, TargetResource(max_posts=3, read_timeout_seconds=4.0), run_seconds=600.0)
    assert settings.paging.page_size == 500
    limits = settings.limits
    assert (limits.connections, limits.retries, limits.first_pause_seconds) == (7, 1, 0.5)
    assert (limits.target_posts, limits.undelivered_pages) == (3, 12)
    assert (limits.run_seconds, limits.stall_seconds) == (600.0, 150.0)


@pytest.mark.parametrize(
    "wrong",
    [{"page_size": 1001}, {"page_size": 29}, {"max_connections": 0}, {"retries": -1}, {"retry_pause_seconds": 0}],
    ids=str,
)
def test_what_can_not_work_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MailchimpResource(**wrong)
