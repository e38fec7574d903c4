"""The message about clients in trouble."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from importer_pipeline.engine.outcomes import Part, PartitionRef
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.planning.alerts import ClientTrouble, alert_text, troubles_of
from importer_pipeline.planning.status import AudienceStatus, State

NAMES = "abcdef"


def status(client: str, state: State, audience: str = "news") -> AudienceStatus:
    return AudienceStatus(
        name=AudienceName(client, audience), state=state, imported_up_to=0, lag_seconds=9.0,
        error="", reason="it stands still", remedy="push it", since=0.0,
    )  # fmt: skip


def trouble(client: str) -> ClientTrouble:
    return ClientTrouble(client=client, kind="failing", text="it stands still: push it")


def text(now: str, *, told: str, declared: str = NAMES) -> str | None:
    return alert_text(
        [trouble(client) for client in now], told=set(told), told_paused=(), declared=set(declared), link="here"
    )


def test_a_client_is_named_once_by_its_worst_trouble() -> None:
    statuses = [
        status("acme", State.LATE), status("acme", State.FAILING, "more"), status("globex", State.LATE),
        status("hooli", State.UNSYNCED), status("initech", State.WELL),
    ]  # fmt: skip
    refs = [
        PartitionRef(name=AudienceName(client, "news"), part=Part.HOUR, key="2026-11-24-07:00")
        for client in ("initech", "acme")
    ]
    assert [(it.client, it.kind) for it in troubles_of(statuses, refs)] == [
        ("acme", "failing"), ("globex", "late"), ("initech", "in the quarantine"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("now", "told", "said"),
    [
        ("", "", None),
        ("ab", "ab", None),
        ("a", "", "1 client in trouble:\n• a (failing): it stands still: push it\nhere"),
        ("ab", "b", "1 client in trouble:\n• a (failing): it stands still: push it\nStill in trouble: 1 client\nhere"),
        ("", "ab", "Well again: a, b\nAll clients are well.\nhere"),
        ("b", "ab", "Well again: a\nStill in trouble: 1 client\nhere"),
        ("", "z", None),
    ],
)
def test_what_is_new_and_what_is_over_is_told(now: str, told: str, said: str | None) -> None:
    assert text(now, told=told) == said


def test_a_pause_is_told_once() -> None:
    paused = [replace(trouble("a"), kind="paused"), trouble("b")]
    said = alert_text(paused, told="ab", told_paused="", declared=NAMES, link="here")
    assert said == (
        "1 client paused, asked once a day from now on:\n• a (paused): it stands still: push it\n"
        "Still in trouble: 1 client\nhere"
    )
    assert alert_text(paused, told="ab", told_paused="a", declared=NAMES, link="here") is None
    assert "1 client in trouble:\n• a (paused)" in (
        alert_text(paused[:1], told="", told_paused="", declared=NAMES, link="here") or ""
    )


def test_ten_are_named_and_the_others_counted() -> None:
    many = [replace(trouble("x"), client=f"client-{number:02}") for number in range(23)]
    said = alert_text(many, told=(), told_paused=(), declared=[it.client for it in many], link="here") or ""
    assert said.count("•") == 10
    assert "23 clients in trouble" in said
    assert "and 13 more" in said


@given(st.sets(st.sampled_from(NAMES)), st.sets(st.sampled_from(NAMES)))
def test_there_is_a_message_exactly_if_something_has_changed(now: set[str], told: set[str]) -> None:
    assert (text("".join(sorted(now)), told="".join(told)) is None) == (now == told)
