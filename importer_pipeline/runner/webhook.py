"""Sends a message to a webhook, as Slack and what is compatible with it take it.

The URL is a secret: whoever has it can post. It is in no error.
"""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from urllib.parse import urlsplit

from pydantic import SecretStr
from pydantic_core import to_json

from importer_pipeline.errors import ImporterError, Unavailable
from importer_pipeline.http.faults import Fault, with_variable
from importer_pipeline.http.wire import Limits, Wire

_LIMITS = Limits(
    connect_timeout_seconds=3.0,
    read_timeout_seconds=4.0,
    answer_timeout_seconds=4.0,
    body_limit_bytes=64 * 1024,
)

_TALKATIVE = ("urllib3.connectionpool", "urllib3.util.retry")
"""Loggers of urllib3 that name the path of a request."""

_ESCAPED = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
"""Characters that Slack would take for markup."""


def post_to_webhook(url: SecretStr, text: str) -> None:
    """Post a message, within 5 seconds.

    Raises:
        ImporterError: the server has not accepted it, as far as is known.
    """
    wire = Wire(limits=_LIMITS, error_of=_fault_error)
    escaped = "".join(_ESCAPED.get(character, character) for character in text)
    try:
        route = wire.route("POST", url.get_secret_value(), {"Content-Type": "application/json"})
        with _unlogged(url):
            answer = wire.send(route, "", body=to_json({"text": escaped}))
    finally:
        wire.close()
    if not 200 <= answer.status < 300:
        raise Unavailable(
            f"the webhook answered HTTP {answer.status}",
            remedy="check IMPORTER_ALERT_WEBHOOK and the service behind it",
        )


@contextmanager
def _unlogged(url: SecretStr) -> Generator[None]:
    """Keep the path out of the debug lines of urllib3, which have it of every request."""
    path = urlsplit(url.get_secret_value()).path

    def is_harmless(record: logging.LogRecord) -> bool:
        return path in ("", "/") or path not in record.getMessage()

    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    for logger in loggers:
        logger.addFilter(is_harmless)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(is_harmless)


def _fault_error(fault: Fault, variable: str) -> ImporterError:
    return Unavailable(
        with_variable(f"the webhook did not answer: {fault.value}", variable),
        remedy="check IMPORTER_ALERT_WEBHOOK and the service behind it",
    )
