"""Decides whether a run resumes an earlier snapshot or takes a new one. Pure."""

from collections.abc import Collection
from dataclasses import dataclass

from importer_pipeline.engine.audience_plan import SnapshotScope
from importer_pipeline.errors import SnapshotUnusable
from importer_pipeline.listing.coverage import timestamp
from importer_pipeline.listing.snapshots import AudienceName, Latest, SnapshotProgress, parse_window_key
from importer_pipeline.planning.chain import View
from importer_pipeline.planning.history import History
from importer_pipeline.redaction import quoted, shortened

_MAX_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeRule:
    """The rule for resuming an unfinished snapshot."""

    within_seconds: float
    """Maximum age of an unfinished snapshot to resume."""
    restart: bool
    """True to take a new snapshot in any case."""

    def why_not(self, latest: Latest, *, fingerprint: str, was_other: bool, view: View) -> str | None:
        """Return the reason not to resume the newest snapshot, as the end of a sentence; None to resume it.

        Args:
            latest: the newest snapshot, unfinished.
            fingerprint: the current fingerprint of the audience.
            was_other: True if contacts have been sent with another fingerprint since.
            view: which moments are over.
        """
        if self.restart:
            return "restart is set"
        flaw = _flaw(latest, fingerprint=fingerprint, was_other=was_other, view=view)
        if flaw is not None:
            return f"the unfinished one is {flaw}"
        if view.now - latest.snapshot.before > self.within_seconds:
            return (
                f"the unfinished one of {timestamp(latest.snapshot.before)} is older than "
                f"{self.within_seconds / 3600:g} hours"
            )
        return None


def resume_snapshot(
    name: AudienceName, wanted: frozenset[str] | None, latest: Latest | None, history: History, *,
    fingerprint: str, was_other: bool, rule: ResumeRule, view: View,
) -> tuple[SnapshotScope, str]:  # fmt: skip
    """Return what to read: the rest of an earlier snapshot, or a new one.

    Single windows always belong to the newest snapshot, however old it is.

    Args:
        name: the audience.
        wanted: the requested windows; see `SnapshotScope.wanted`.
        latest: the audience's newest snapshot.
        history: has its imported windows.
        fingerprint: the current fingerprint of the audience.
        was_other: True if contacts have been sent with another fingerprint since its newest snapshot was taken.
        rule: when a full sync resumes it.
        view: which moments are over.

    Returns:
        what to read, and a note for the log; the note is "" where there is nothing to say.

    Raises:
        SnapshotUnusable: the newest snapshot does not have the requested windows.
    """
    last = latest.snapshot if latest is not None and latest.snapshot.fingerprint == fingerprint else None
    fresh = SnapshotScope(earlier=None, wanted=wanted, last=last)
    if wanted:
        latest = _with_windows(latest, wanted, fingerprint=fingerprint, was_other=was_other, view=view)
    elif latest is None or latest.completed:
        return fresh, ""
    else:
        why_not = rule.why_not(latest, fingerprint=fingerprint, was_other=was_other, view=view)
        if why_not is not None:
            return fresh, f"{name} takes a new snapshot: {why_not}"
    snapshot = latest.snapshot
    windows = history.windows(name, snapshot)
    note = (
        f"{name} resumes its snapshot of {timestamp(snapshot.before)}: "
        f"{len(windows)} of {len(snapshot.keys)} windows are imported"
    )
    earlier = SnapshotProgress(snapshot=snapshot, windows=windows)
    return SnapshotScope(earlier=earlier, wanted=wanted), "" if wanted else note


def _with_windows(
    latest: Latest | None, keys: Collection[str], *, fingerprint: str, was_other: bool, view: View
) -> Latest:
    """Return the newest snapshot if it has these windows."""
    remedy = "run plan_windows, which registers the windows of a new snapshot, or full_sync"
    if latest is None:
        raise SnapshotUnusable("there is no snapshot whose windows could be imported", remedy=remedy)
    flaw = _flaw(latest, fingerprint=fingerprint, was_other=was_other, view=view)
    if flaw is not None:
        raise SnapshotUnusable(f"the snapshot is {flaw}", remedy=remedy)
    known = latest.snapshot.keys
    unknown = [_named(key) for key in sorted(set(keys) - set(known))]
    if unknown:
        raise SnapshotUnusable(
            f"the snapshot of {timestamp(latest.snapshot.before)} has no window {shortened(unknown, _MAX_NAMED)}",
            remedy=f"choose from its {len(known)} windows: {', '.join(known[:_MAX_NAMED])}, ...; "
            "or run plan_windows for a new snapshot",
        )
    return latest


def _named(key: str) -> str:
    """Return a window's key, or in quotation marks what can be none: a person added it."""
    return quoted(key) if parse_window_key(key) is None else key


def _flaw(latest: Latest, *, fingerprint: str, was_other: bool, view: View) -> str | None:
    """Return what makes a snapshot useless, as the end of a sentence; None for nothing."""
    other = "another list, target or record mapping than the clients file now declares"
    if latest.snapshot.fingerprint != fingerprint:
        return f"of {other}"
    if was_other:
        return f"older than contacts that were sent for {other}"
    if not view.is_over(latest.snapshot.before, written=latest.written):
        return f"of {timestamp(latest.snapshot.before)}, which was in the future when it was taken: a clock was wrong"
    return None
