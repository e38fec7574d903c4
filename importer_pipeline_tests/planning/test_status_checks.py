"""The sums of a run, and the checks of the status."""

from dataclasses import replace

import pytest

from importer_pipeline.engine.outcomes import AudienceDone, Part, PartCounts, PartitionRef, ReadTotals, RunCounts
from importer_pipeline.errors import ImporterError, KeyRefused, TriesUsedUp
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.planning.quarantine import Entry
from importer_pipeline.planning.status import Attempt, figures_of, status_of
from importer_pipeline.planning.status_checks import CHECKS, RunSums, Verdict, attempts_of, verdicts

NAME = AudienceName("acme", "news")
DONE = AudienceDone(
    name=NAME, part=Part.HOUR, snapshot=None, parts=PartCounts(total=1), is_proved=True,
    totals=ReadTotals(read=100, accepted=100, requests=2), run=RunCounts(accepted=100, elapsed_seconds=1.0),
    lacking=(), error=None,
)  # fmt: skip
REFUSED = KeyRefused("the key is refused", remedy="replace it")
ENTRY = Entry(ref=PartitionRef(name=NAME, part=Part.HOUR, key="2026-11-24-07:00"), fingerprint="")


def done(*, read: int = 100, refused: int = 0, error: ImporterError | None = None) -> AudienceDone:
    accepted = read - refused
    return replace(
        DONE,
        totals=ReadTotals(read=read, accepted=accepted, refused=refused, requests=2),
        run=RunCounts(accepted=accepted, refused=refused),
        error=error,
    )


def judged(*ended: AudienceDone, entries: tuple[Entry, ...] = (), lag_hours: float = 1.0) -> dict[str, Verdict]:
    """The checks after a run in which these audiences ended."""
    statuses = [
        status_of(
            name, imported_up_to=0, why_unsynced="", attempt=attempt, before=None, now=lag_hours * 3600,
            late_after_seconds=3 * 3600,
        )
        for name, attempt in attempts_of(ended).items()
    ]  # fmt: skip
    found = verdicts(statuses, figures_of(statuses), RunSums.of(ended), entries, late_after_seconds=3 * 3600)
    assert [it.check for it in found] == list(CHECKS)
    return {it.check: it for it in found}


def test_all_checks_pass_after_a_good_run_and_after_an_empty_one() -> None:
    assert all(it.passed for it in (*judged(DONE).values(), *judged().values()))


@pytest.mark.parametrize(
    ("refused", "passed", "is_warning"), [(0, True, True), (9, True, True), (10, False, True), (50, False, False)]
)
def test_refused_contacts_warn_from_1_and_fail_from_5_percent(refused: int, passed: bool, is_warning: bool) -> None:
    verdict = judged(done(read=1000, refused=refused))["accepted"]
    assert (verdict.passed, verdict.is_warning) == (passed, is_warning)


def test_each_check_fails_for_its_own_reason() -> None:
    failing = {
        "on_time": judged(DONE, lag_hours=4),
        "complete": judged(replace(DONE, totals=ReadTotals(read=100, accepted=99), run=RunCounts(accepted=99))),
        "quarantine_empty": judged(DONE, entries=(ENTRY,)),
        "keys_accepted": judged(done(error=REFUSED)),
    }
    for name, checks in failing.items():
        assert [it.check for it in checks.values() if not it.passed] == [name]
    assert failing["keys_accepted"]["keys_accepted"].text == "not those of acme/news (KeyRefused)"


def test_sums_are_of_this_run_and_without_retries() -> None:
    resumed = replace(
        DONE,
        part=Part.WINDOW,
        totals=ReadTotals(read=500, accepted=490, refused=10, requests=2),
        run=RunCounts(accepted=90, refused=2, rate_limited=1),
    )
    retried = replace(
        DONE,
        part=Part.CONTACT,
        totals=ReadTotals(read=3, accepted=3, requests=3),
        run=RunCounts(accepted=3, rate_limited=2),
    )
    counts = RunSums.of([resumed, retried])
    assert (counts.read, counts.accepted, counts.refused) == (92, 90, 2)
    assert (counts.requests, counts.rate_limited) == (5, 3)


def test_an_audience_that_ended_twice_has_its_first_error() -> None:
    lost = TriesUsedUp("no answer", remedy="later")
    assert attempts_of([DONE, done(error=REFUSED), done(error=lost)]) == {
        NAME: Attempt(error="KeyRefused", reason="the key is refused", remedy="replace it")
    }
