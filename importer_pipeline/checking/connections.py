"""Requests of a person who waits: API clients with short timeouts, and a few retries.

Stays out: what is requested (`mailchimp/directory.py`), and syncs, which have all the time they need (`engine/`).
"""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from importer_pipeline.clients.client import Client
from importer_pipeline.errors import TooManyRequests, TryAgain
from importer_pipeline.mailchimp.client import MailchimpClient, MailchimpLimits
from importer_pipeline.mailchimp.credentials import Credentials
from importer_pipeline.target import opening
from importer_pipeline.target.client import TargetLimits
from importer_pipeline.target.protocol import Target

_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 30.0
_MAX_WAIT_SECONDS = 30.0
_PATIENCE_SECONDS = 30.0
"""Time after which nothing is retried: a server that hangs is known to after one request."""

PAUSES_SECONDS = (0.5, 2.0)
"""The pauses before the retries."""

_Result = TypeVar("_Result")


def open_mailchimp(credentials: Credentials, *, base_url: str | None) -> MailchimpClient:
    """Open an account with the timeouts of a person who waits. SecretMissing if its data centre is unknown."""
    limits = MailchimpLimits(
        connect_timeout_seconds=_CONNECT_SECONDS,
        read_timeout_seconds=_ANSWER_SECONDS,
        answer_timeout_seconds=_ANSWER_SECONDS,
    )
    return MailchimpClient(credentials, base_url=base_url, limits=limits)


def open_account(client: Client) -> MailchimpClient:
    """Open a client's Mailchimp account. SecretMissing if its secret can't be used."""
    return open_mailchimp(client.mailchimp.credentials(), base_url=client.mailchimp.base_url)


def open_target(client: Client) -> Target:
    """Open a client's account at the target. SecretMissing if its secret can't be used."""
    limits = TargetLimits(
        connect_timeout_seconds=_CONNECT_SECONDS,
        read_timeout_seconds=_ANSWER_SECONDS,
        answer_timeout_seconds=_ANSWER_SECONDS,
    )
    settings = client.target
    return opening.open_target(settings.url, settings.declaration(), settings.read_secrets(), limits=limits)


def patiently(
    request: Callable[[], _Result],
    *,
    pauses_seconds: Sequence[float] = PAUSES_SECONDS,
    sleep: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> _Result:
    """Return what a request returns; retry after errors that may pass, and raise the last one.

    Args:
        request: raises TryAgain if a retry may help.
        pauses_seconds: the pause before each retry, or longer, if a busy server asks for it.
        sleep: waits for some seconds.
        clock: seconds, of a clock that only goes forward.
    """
    until = clock() + _PATIENCE_SECONDS
    for pause in pauses_seconds:
        try:
            return request()
        except TooManyRequests as error:
            sleep(max(pause, min(error.retry_after_seconds or 0.0, _MAX_WAIT_SECONDS)))
        except TryAgain:
            if clock() >= until:
                raise
            sleep(pause)
    return request()
