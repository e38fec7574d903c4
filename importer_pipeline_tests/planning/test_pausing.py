"""Accounts whose keys are refused: when they are paused, asked again, and paused no more."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from importer_pipeline.engine.outcomes import AudienceDone, Part, PartCounts, ReadTotals, RunCounts
from importer_pipeline.errors import AccountDown, ImporterError, KeyRefused, ListNotFound, TargetDown
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.planning.pausing import (
    ASK_AGAIN_SECONDS,
    Asked,
    PauseRule,
    RefusedAccount,
    refused_accounts,
    with_paused,
)
from importer_pipeline.planning.status import PAUSED_REMEDY, AudienceStatus, Reported, State, compare, status_of
from importer_pipeline.planning.status_checks import attempts_of

NOW = 1_000_000.0
HOUR = 3600.0
REFUSED = KeyRefused("Mailchimp refuses the key", remedy="replace it")
ONE, TWO, OTHER = AudienceName("acme", "news"), AudienceName("umbrella", "news"), AudienceName("globex", "news")
ACCOUNTS = {ONE: "shared", TWO: "shared", OTHER: "globex"}
"""Acme and Umbrella share an account."""

RULE = PauseRule(after_ticks=3)


def done(name: AudienceName, error: ImporterError | None, *, requests: int = 1, accepted: int = 0) -> AudienceDone:
    return AudienceDone(
        name=name, part=Part.HOUR, snapshot=None, parts=PartCounts(total=1), is_proved=error is None,
        totals=ReadTotals(requests=requests), run=RunCounts(accepted=accepted), lacking=(), error=error,
    )  # fmt: skip


def after(
    ended: Sequence[AudienceDone],
    before: Mapping[str, RefusedAccount] | None = None,
    *,
    states: Mapping[AudienceName, AudienceStatus] | None = None,
    now: float = NOW,
    is_tick: bool = True,
) -> tuple[Mapping[str, RefusedAccount], dict[AudienceName, AudienceStatus]]:
    """The refused accounts and the states after a run in which these audiences ended."""
    attempts, states = attempts_of(ended), states or {}
    statuses = [
        status_of(
            name, imported_up_to=0, why_unsynced="", attempt=attempts.get(name), before=states.get(name), now=now,
            late_after_seconds=1e9,
        )
        for name in ACCOUNTS
    ]  # fmt: skip
    refused = refused_accounts(before or {}, statuses, Asked.of(ended), account_of=ACCOUNTS, now=now, is_tick=is_tick)
    paused = {it.account for it in refused.values() if RULE.is_paused(it)}
    found = with_paused(statuses, paused, states, account_of=ACCOUNTS, now=now)
    return refused, {it.name: it for it in found}


def refused_ticks(count: int) -> tuple[Mapping[str, RefusedAccount], dict[AudienceName, AudienceStatus]]:
    """The same after ticks with a refused key, an hour apart, the last of them now."""
    refused, states = dict[str, RefusedAccount](), dict[AudienceName, AudienceStatus]()
    for tick in range(count):
        ended = [done(ONE, REFUSED), done(TWO, REFUSED), done(OTHER, None)]
        refused, states = after(ended, refused, states=states, now=NOW - (count - 1 - tick) * HOUR)
    return refused, states


def test_an_account_is_paused_with_all_its_clients_and_no_other() -> None:
    _, states = refused_ticks(2)
    assert [it.state for it in states.values()] == [State.FAILING, State.FAILING, State.WELL]
    refused, now = refused_ticks(3)
    assert [it.state for it in now.values()] == [State.PAUSED, State.PAUSED, State.WELL]
    assert refused["shared"] == RefusedAccount(
        account="shared", clients=("acme", "umbrella"), ticks=3, since=NOW - 2 * HOUR, asked_at=NOW
    )
    assert now[ONE].remedy == f"replace it{PAUSED_REMEDY}"
    assert not PauseRule(after_ticks=0).is_paused(refused["shared"])


def test_it_is_asked_again_after_a_day() -> None:
    refused, _ = refused_ticks(3)
    assert RULE.leaves_out(refused["shared"], now=NOW + ASK_AGAIN_SECONDS - 1)
    assert not RULE.leaves_out(refused["shared"], now=NOW + ASK_AGAIN_SECONDS)


def test_a_tick_that_leaves_it_out_keeps_it_paused() -> None:
    refused, states = refused_ticks(3)
    later, left = after([done(OTHER, None)], refused, states=states, now=NOW + HOUR)
    assert later["shared"] == replace(refused["shared"], ticks=4)
    assert left[ONE] == replace(states[ONE], lag_seconds=NOW + HOUR)


@pytest.mark.parametrize(
    "accepted",
    [done(TWO, None), done(TWO, ListNotFound("no list")), done(TWO, TargetDown("no answer"), accepted=1)],
    ids=["imported", "no such list", "read, and the target is down"],
)
def test_it_resumes_once_a_key_of_it_is_accepted(accepted: AudienceDone) -> None:
    refused, states = refused_ticks(3)
    later, now = after([accepted], refused, states=states)
    assert "shared" not in later
    assert now[ONE].state is State.FAILING
    assert now[ONE].remedy == "replace it"


@pytest.mark.parametrize(
    "unclear",
    [done(ONE, AccountDown("no answer")), done(ONE, TargetDown("no answer"), requests=0)],
    ids=["no answer", "not asked"],
)
def test_an_unclear_answer_changes_nothing(unclear: AudienceDone) -> None:
    refused, _ = refused_ticks(2)
    assert after([unclear, done(OTHER, None)], refused)[0] == refused


def test_runs_by_hand_do_not_count() -> None:
    refused, states = refused_ticks(2)
    later, _ = after([done(ONE, REFUSED)], refused, states=states, now=NOW + HOUR, is_tick=False)
    assert later["shared"] == replace(refused["shared"], asked_at=NOW + HOUR)


def test_a_pause_is_no_new_trouble() -> None:
    _, before = refused_ticks(2)
    _, now = refused_ticks(3)
    reported = {name: Reported(status=it, at=NOW, in_all=True) for name, it in before.items()}
    changed = compare(reported, now.values())
    assert (changed.new, len(changed.as_before), len(changed.paused)) == ((), 2, 2)
    reported = {name: Reported(status=it, at=NOW, in_all=True) for name, it in now.items()}
    assert compare(reported, now.values()).paused == ()
