"""Messages to a webhook that does not take them: an error within seconds, which does not tell where they went."""

import logging
import time

import pytest
from pydantic import SecretStr

from importer_pipeline.errors import ImporterError
from importer_pipeline.runner.webhook import post_to_webhook
from importer_pipeline_tests.support.webhook import Mood, Webhook

MAX_SECONDS = 5.0


@pytest.mark.parametrize("mood", [mood for mood in Mood if mood is not Mood.ACCEPT])
def test_a_failing_webhook_is_an_error_within_5_seconds(mood: Mood, caplog: pytest.LogCaptureFixture) -> None:
    with Webhook() as webhook, caplog.at_level(logging.DEBUG):
        webhook.mood = mood
        began = time.monotonic()
        with pytest.raises(ImporterError, match=r"^the webhook ") as raised:
            post_to_webhook(SecretStr(webhook.url), "all is well")
        assert time.monotonic() - began < MAX_SECONDS
        assert webhook.asked == (0 if mood is Mood.UNPLUGGED else 1)  # No redirect is followed.
        shown = (str(raised.value), *(record.getMessage() for record in caplog.records))
        assert not any("unspeakable" in text for text in shown)


def test_a_message_is_escaped_as_slack_asks() -> None:
    with Webhook() as webhook:
        post_to_webhook(SecretStr(webhook.url), "<a> & b")
        assert webhook.texts == ["&lt;a&gt; &amp; b"]
