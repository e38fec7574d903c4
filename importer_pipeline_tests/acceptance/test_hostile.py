"""Both API clients against hostile servers: an error of the right kind, in time, in little memory."""

import time
import tracemalloc
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from importer_pipeline.errors import (
    BrokenAnswer,
    ImporterError,
    RecordRefused,
    TargetKeyRefused,
    TargetMisplaced,
    TooSlow,
    TurnedAway,
    Unavailable,
)
from importer_pipeline.listing.coverage import PageRequest
from importer_pipeline.mailchimp.client import CredentialKind, Credentials, MailchimpClient, MailchimpLimits
from importer_pipeline.mailchimp.pages import open_page
from importer_pipeline.records.contacts import DEFAULT_RECORD, Record, RecordMapping
from importer_pipeline.target.client import TargetClient, TargetLimits
from importer_pipeline_tests.support.hostile import BEHAVIOURS, Hostile, hostile

SHORT_SECONDS = 0.4
"""Maximum time of an answer from a server that never ends."""
LONG_SECONDS = 60.0
"""Maximum time of an answer that is too large: its size ends it, however busy the machine is."""
MAX_MEMORY_BYTES = 40_000_000
MAPPING = RecordMapping.of(DEFAULT_RECORD, list_id="1a2d7ebf82")
ASK = PageRequest(since=1_600_000_000, before=1_700_000_000, offset=0, count=1000)
RECORD = Record(id="1", firstname="", lastname="", email="", status="subscribed")

MEANT_FOR_BOTH: dict[str, tuple[type[ImporterError], type[ImporterError]]] = {
    "dripped_status": (TooSlow, Unavailable),
    "dripped_headers": (TooSlow, Unavailable),
    "endless_continue": (TooSlow, Unavailable),
    "hasty_continue": (BrokenAnswer, BrokenAnswer),
    "dripped_body": (TooSlow, Unavailable),
    "dripped_chunks": (TooSlow, Unavailable),
    "endless_body": (BrokenAnswer, BrokenAnswer),
    "endless_chunks": (BrokenAnswer, BrokenAnswer),
    "endless_trailers": (BrokenAnswer, BrokenAnswer),
    "endless_headers": (BrokenAnswer, BrokenAnswer),
    "huge_header": (BrokenAnswer, BrokenAnswer),
    "gzip_bomb": (BrokenAnswer, BrokenAnswer),
    "packed_twice": (BrokenAnswer, BrokenAnswer),
    "nested": (BrokenAnswer, BrokenAnswer),
    "empty_lists": (BrokenAnswer, BrokenAnswer),
    "html_400": (TurnedAway, RecordRefused),
    "html_403": (TurnedAway, TargetKeyRefused),
    "html_404": (TurnedAway, TargetMisplaced),
    "html_405": (TurnedAway, TargetMisplaced),
    "html_431": (TurnedAway, RecordRefused),
    "cut_chunks": (BrokenAnswer, BrokenAnswer),
    "cut_length": (BrokenAnswer, BrokenAnswer),
    "odd_length": (BrokenAnswer, BrokenAnswer),
    "reset": (Unavailable, Unavailable),
    "silence": (TooSlow, Unavailable),
    "silent_body": (TooSlow, Unavailable),
    "not_http": (BrokenAnswer, BrokenAnswer),
    "surplus": (BrokenAnswer, BrokenAnswer),
}
"""The errors that the clients of Mailchimp and of the target raise for a behaviour."""

MEANT_FOR_MAILCHIMP: dict[str, type[ImporterError]] = {
    "absurd_total": BrokenAnswer,
    "large_total": BrokenAnswer,
    "two_totals": BrokenAnswer,
    "two_dates": BrokenAnswer,
}

OF_THE_ENGINE = {"date_9999", "date_1970"}
"""A moment that is valid for any page."""


@pytest.fixture(scope="module")
def server() -> Iterator[Hostile]:
    with hostile() as serving:
        yield serving


def patience_seconds(behaviour: str) -> float:
    return SHORT_SECONDS if MEANT_FOR_BOTH.get(behaviour) == (TooSlow, Unavailable) else LONG_SECONDS


def read_a_page(url: str, *, seconds: float = LONG_SECONDS) -> None:
    limits = MailchimpLimits(read_timeout_seconds=seconds, answer_timeout_seconds=seconds)
    account = MailchimpClient(
        Credentials(kind=CredentialKind.API_KEY, secret=SecretStr("sesame-us6")), base_url=url, limits=limits
    )
    try:
        open_page(account.members("1a2d7ebf82", ASK, archived=False, fields=MAPPING.fields), ASK, MAPPING)
    finally:
        account.close()


def post_a_record(url: str, *, seconds: float) -> None:
    limits = TargetLimits(read_timeout_seconds=seconds, answer_timeout_seconds=seconds)
    target = TargetClient(url, SecretStr("sesame"), limits=limits)
    try:
        target.post([RECORD])
    finally:
        target.close()


def test_every_behaviour_has_a_meaning() -> None:
    assert {*MEANT_FOR_BOTH, *MEANT_FOR_MAILCHIMP, *OF_THE_ENGINE} == set(BEHAVIOURS)


@pytest.mark.parametrize("behaviour", [*MEANT_FOR_BOTH, *MEANT_FOR_MAILCHIMP])
def test_mailchimp_cannot_hold_or_fill_the_importer(server: Hostile, behaviour: str) -> None:
    kind = MEANT_FOR_MAILCHIMP.get(behaviour) or MEANT_FOR_BOTH[behaviour][0]
    started = time.monotonic()
    with pytest.raises(kind) as caught:
        read_a_page(f"{server.url(behaviour)}/3.0", seconds=patience_seconds(behaviour))
    assert type(caught.value) is kind
    assert time.monotonic() - started < LONG_SECONDS / 2


@pytest.mark.parametrize("behaviour", MEANT_FOR_BOTH)
def test_a_target_cannot_hold_the_importer(server: Hostile, behaviour: str) -> None:
    kind = MEANT_FOR_BOTH[behaviour][1]
    started = time.monotonic()
    with pytest.raises(kind) as caught:
        post_a_record(server.url(behaviour), seconds=patience_seconds(behaviour))
    assert type(caught.value) is kind
    assert time.monotonic() - started < LONG_SECONDS / 2


LARGE = [
    "endless_body",
    "endless_chunks",
    "endless_trailers",
    "endless_headers",
    "hasty_continue",
    "empty_lists",
    "gzip_bomb",
]


@pytest.mark.parametrize("behaviour", LARGE)
def test_an_endless_answer_takes_little_memory(server: Hostile, behaviour: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ImporterError):
            read_a_page(f"{server.url(behaviour)}/3.0")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MAX_MEMORY_BYTES
