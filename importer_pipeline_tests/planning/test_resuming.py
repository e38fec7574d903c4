"""Resuming a snapshot: which one, why not, and the errors for unusable windows."""

import math
from dataclasses import replace

import pytest

from importer_pipeline.engine.audience_plan import SnapshotScope
from importer_pipeline.engine.outcomes import SnapshotKnown, WindowImported
from importer_pipeline.errors import SnapshotUnusable
from importer_pipeline.listing.coverage import TimeRange
from importer_pipeline.listing.snapshots import AudienceName, Latest, SnapshotProgress
from importer_pipeline.planning.chain import View
from importer_pipeline.planning.resuming import ResumeRule, resume_snapshot
from importer_pipeline_tests.support.factories import imported, snapshot
from importer_pipeline_tests.support.memory_history import MemoryHistory

BEFORE = 1_764_154_800
"""2025-11-26T11:00:00+00:00"""
NOW = BEFORE + 3600.0
RULE = ResumeRule(within_seconds=24 * 3600.0, restart=False)
NEWS = AudienceName("acme", "news")
TAKEN = snapshot(total=9, archived_total=2, before=BEFORE)
WINDOWS = {"0": imported(TimeRange(0, 5)), "8": imported(TimeRange(9, BEFORE))}
STANDING = SnapshotProgress(snapshot=TAKEN, windows=WINDOWS)
ANEW = SnapshotScope(earlier=None, wanted=None, last=TAKEN)


def kept() -> MemoryHistory:
    """Return the history of an earlier run."""
    history = MemoryHistory()
    history.record(SnapshotKnown(name=NEWS, snapshot=TAKEN))
    for key, window in WINDOWS.items():
        history.record(
            WindowImported(name=NEWS, snapshot_id=TAKEN.id, window=key, imported=window, elapsed_seconds=1.0)
        )
    return history


def resumed(
    latest: Latest | None, *wanted: str, was_other: bool = False, rule: ResumeRule = RULE, now: float = NOW
) -> tuple[SnapshotScope, str]:
    """Of a whole sync, or of single windows."""
    return resumed_windows(frozenset(wanted) or None, latest, was_other=was_other, rule=rule, now=now)


def resumed_windows(
    wanted: frozenset[str] | None, latest: Latest | None, *, was_other: bool = False, rule: ResumeRule = RULE,
    now: float = NOW,
) -> tuple[SnapshotScope, str]:  # fmt: skip
    view = View(now=now, oldest=0, tolerance_seconds=900.0)
    return resume_snapshot(
        NEWS, wanted, latest, kept(), fingerprint=TAKEN.fingerprint, was_other=was_other, rule=rule, view=view
    )


def unfinished(**values: str | int | None) -> Latest:
    return Latest(snapshot=replace(TAKEN, **values), completed=False)


def test_an_unfinished_snapshot_is_resumed_with_a_note() -> None:
    scope, note = resumed(unfinished())
    assert scope == SnapshotScope(earlier=STANDING, wanted=None)
    assert note == "acme/news resumes its snapshot of 2025-11-26T11:00:00+00:00: 2 of 4 windows are imported"


@pytest.mark.parametrize(
    ("before", "written"),
    [(int(NOW) + 901, math.inf), (BEFORE, BEFORE - 901.0)],
    ids=["by our clock now", "by our clock when it was taken"],
)
def test_a_snapshot_of_the_future_is_not_resumed(before: int, written: float) -> None:
    """Nor can its windows be imported."""
    future = Latest(snapshot=replace(TAKEN, before=before), completed=False, written=written)
    scope, note = resumed(future)
    assert scope.earlier is None
    assert note.endswith(", which was in the future when it was taken: a clock was wrong")
    with pytest.raises(SnapshotUnusable, match="which was in the future when it was taken"):
        resumed(future, "0")


def test_contacts_sent_in_another_form_prevent_resuming() -> None:
    scope, note = resumed(unfinished(), was_other=True)
    assert scope == ANEW
    assert "the unfinished one is older than contacts that were sent for another list" in note
    with pytest.raises(SnapshotUnusable, match="the snapshot is older than contacts that were sent for another list"):
        resumed(unfinished(), "0", was_other=True)


@pytest.mark.parametrize(
    "latest", [None, Latest(snapshot=TAKEN, completed=True)], ids=["none", "one that is completed"]
)
def test_without_an_unfinished_snapshot_there_is_no_note(latest: Latest | None) -> None:
    scope, note = resumed(latest)
    assert (scope.earlier, note) == (None, "")


@pytest.mark.parametrize(
    ("latest", "rule", "now", "reason"),
    [
        pytest.param(unfinished(), replace(RULE, restart=True), NOW, "restart is set", id="restart"),
        pytest.param(
            unfinished(fingerprint="of another list"),
            RULE,
            NOW,
            "the unfinished one is of another list, target or record mapping than the clients file now declares",
            id="another fingerprint",
        ),
        pytest.param(
            unfinished(),
            RULE,
            BEFORE + 24 * 3600.0 + 1,
            "the unfinished one of 2025-11-26T11:00:00+00:00 is older than 24 hours",
            id="too old",
        ),
        pytest.param(
            unfinished(),
            replace(RULE, within_seconds=1800.0),
            NOW,
            "the unfinished one of 2025-11-26T11:00:00+00:00 is older than 0.5 hours",
            id="too old by another rule",
        ),
    ],
)
def test_a_note_says_why_a_snapshot_is_not_resumed(latest: Latest, rule: ResumeRule, now: float, reason: str) -> None:
    scope, note = resumed(latest, rule=rule, now=now)
    assert scope.earlier is None
    assert note == f"acme/news takes a new snapshot: {reason}"


def test_a_snapshot_as_old_as_the_rule_allows_is_resumed() -> None:
    assert resumed(unfinished(), now=BEFORE + 24 * 3600.0)[0].earlier is not None


def test_planning_windows_resumes_by_the_same_rule() -> None:
    counted = SnapshotScope(earlier=None, wanted=frozenset())
    scope, note = resumed_windows(frozenset(), unfinished())
    assert scope == replace(counted, earlier=STANDING)
    assert note.endswith("2 of 4 windows are imported")
    scope, note = resumed_windows(frozenset(), unfinished(), rule=replace(RULE, restart=True))
    assert scope == replace(counted, last=TAKEN)
    scope, note = resumed_windows(frozenset(), Latest(snapshot=TAKEN, completed=True))
    assert scope == replace(counted, last=TAKEN)


@pytest.mark.parametrize("completed", [False, True], ids=["unfinished", "completed"])
@pytest.mark.parametrize("rule", [RULE, replace(RULE, restart=True)], ids=["resume", "restart"])
def test_single_windows_are_of_the_newest_snapshot(rule: ResumeRule, *, completed: bool) -> None:
    """However old it is."""
    latest = Latest(snapshot=TAKEN, completed=completed)
    scope, note = resumed(latest, "4", "archived-0", rule=rule, now=BEFORE + 1e9)
    assert scope.earlier == STANDING
    assert scope.wanted == {"4", "archived-0"}
    assert note == ""


REMEDY = "run plan_windows, which registers the windows of a new snapshot, or full_sync"


@pytest.mark.parametrize(
    ("latest", "keys", "message"),
    [
        pytest.param(
            None, ("0",), f"there is no snapshot whose windows could be imported: {REMEDY}", id="there is no snapshot"
        ),
        pytest.param(
            unfinished(fingerprint="of another list"),
            ("0",),
            f"the snapshot is of another list, target or record mapping than the clients file now declares: {REMEDY}",
            id="it is of something else",
        ),
        pytest.param(
            unfinished(),
            ("4", "12"),
            "the snapshot of 2025-11-26T11:00:00+00:00 has no window 12: "
            "choose from its 4 windows: 0, 4, 8, ...; or run plan_windows for a new snapshot",
            id="it has no such window",
        ),
        pytest.param(
            unfinished(),
            ("2", "12", "16", "archived-4", "x"),
            "the snapshot of 2025-11-26T11:00:00+00:00 has no window 12, 16, 2 and 2 more: "
            "choose from its 4 windows: 0, 4, 8, ...; or run plan_windows for a new snapshot",
            id="it has none of many",
        ),
        pytest.param(
            unfinished(),
            ("",),
            'the snapshot of 2025-11-26T11:00:00+00:00 has no window "": '
            "choose from its 4 windows: 0, 4, 8, ...; or run plan_windows for a new snapshot",
            id="it has none without a name",
        ),
        pytest.param(
            unfinished(archived_total=None),
            ("archived-0",),
            "the snapshot of 2025-11-26T11:00:00+00:00 has no window archived-0: "
            "choose from its 3 windows: 0, 4, 8, ...; or run plan_windows for a new snapshot",
            id="it does not know its archived contacts",
        ),
    ],
)
def test_unusable_windows_raise_with_a_remedy(latest: Latest | None, keys: tuple[str, ...], message: str) -> None:
    with pytest.raises(SnapshotUnusable) as caught:
        resumed(latest, *keys)
    assert str(caught.value) == message
