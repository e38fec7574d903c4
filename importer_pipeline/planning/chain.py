"""The chain of an audience: how far it is synced without a hole. Pure.

A chain begins with a snapshot that is accounted for, and continues over the hours after it until the first hole. It
belongs to one list, target and mapping: its fingerprint. It proves that every contact whose `last_changed` lies before
its end, and that has not changed since, is at the target or in the quarantine, by itself or with its window or hour.
The order in which hours were imported does not matter, nor whether they were imported twice.

A chain ends where one of these rules applies:

- An hour that was not imported is a hole: later hours do not count until it is filled. An hour that failed for a reason
  of its own is in the quarantine, and the sync that read it adds the later hours to the chain.
- An event of another fingerprint ends everything before it. The target has received records of another form since, so
  even a return to the earlier clients file requires a full sync.
- Events that are not ours, such as those reported by hand, do not count. Nor does an event that ends in the future, by
  our clock now or when it was written: a clock was wrong.
- A chain that ends before the first hour in view does not count: a full sync is cheaper than the hours since.

An hour names its chain if it was written by a sync that continued one. Such an hour proves the chain up to its own end,
even if the events before it have been wiped, or pruned with their runs.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from importer_pipeline.listing.coverage import TimeRange, timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotTaken:
    """A snapshot was taken, and some of it may be at the target."""

    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FormChanged:
    """From then on contacts were sent for another list, target or mapping than before, though not with a snapshot."""

    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotCompleted:
    """Every window of a snapshot is imported or in the quarantine."""

    fingerprint: str
    snapshot: str
    """Its ID."""
    before: int
    """Epoch seconds: it holds all contacts changed up to then."""
    written: float = field(default=math.inf, compare=False)
    """When that was recorded, in epoch seconds by our clock; infinite if unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HourCompleted:
    """All contacts that changed in an hour are imported."""

    fingerprint: str
    hour: TimeRange
    chain_from: str | None
    """ID of the snapshot that begins its chain; None if it was imported by itself."""
    written: float = field(default=math.inf, compare=False)
    """When that was recorded, in epoch seconds by our clock; infinite if unknown."""


Evidence = SnapshotTaken | FormChanged | SnapshotCompleted | HourCompleted
"""What the event log of an audience can prove."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The range of time in which evidence counts."""

    now: float
    """Epoch seconds, by our clock."""
    oldest: int
    """The first second of the first hour in view."""
    tolerance_seconds: float
    """Seconds that Mailchimp's clock may be ahead of ours."""

    def is_over(self, moment: int, *, written: float) -> bool:
        """Return whether a moment of Mailchimp's clock was over when the evidence was written, and is now."""
        return moment <= min(self.now, written) + self.tolerance_seconds

    def believes(self, evidence: Evidence) -> bool:
        """Return whether evidence counts: it does not if it ends in the future."""
        if isinstance(evidence, SnapshotCompleted):
            return self.is_over(evidence.before, written=evidence.written)
        if isinstance(evidence, HourCompleted):
            return self.is_over(evidence.hour.last, written=evidence.written)
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Proof that everything that changed up to a moment is imported."""

    snapshot: str
    """ID of the snapshot that it begins with."""
    end: int
    """Its last second, in epoch seconds."""
    hours: frozenset[TimeRange]
    """Hours after its end that are already imported."""


def chain_of(newest_first: Iterable[Evidence], *, fingerprint: str, view: View) -> Chain | None:
    """Return the chain of an audience, or None if it takes a full sync to begin one.

    Args:
        newest_first: all evidence about the audience, newest first. It may end with the newest hour that was added to a
            chain and the newest completed snapshot that the view believes: older evidence adds nothing.
        fingerprint: the current fingerprint of the audience.
        view: which evidence counts, and how old a chain may be.
    """
    chain = _proved(newest_first, fingerprint=fingerprint, view=view)
    return None if chain is None or chain.end + 1 < view.oldest else chain


def why_no_chain(newest_first: Sequence[Evidence], *, fingerprint: str, view: View) -> str:
    """Return the reason why there is no chain, as the end of a sentence."""
    chain = _proved(newest_first, fingerprint=fingerprint, view=view)
    if chain is not None:
        return (
            f"it was last synced up to {timestamp(chain.end)}, and the hours in view begin at {timestamp(view.oldest)} "
            "(IMPORTER_MONTHS_IN_VIEW)"
        )
    for evidence in newest_first:
        if evidence.fingerprint != fingerprint:
            return "the last sync was of another list, target or record mapping than the clients file now declares"
        if not view.believes(evidence):
            return "the last sync claims to end in the future: a clock was wrong"
        if isinstance(evidence, SnapshotTaken):
            return "its snapshot is incomplete"
        if isinstance(evidence, FormChanged):
            return "its list, target or record mapping has changed since the last full sync"
    return "the event log has no successful full sync of it"


def was_other_since_snapshot(newest_first: Iterable[Evidence], *, fingerprint: str) -> bool:
    """Return whether the newest snapshot, or anything sent since it was taken, has another fingerprint."""
    for evidence in newest_first:
        if evidence.fingerprint != fingerprint:
            return True
        if isinstance(evidence, SnapshotTaken):
            return False
    return False


def _proved(newest_first: Iterable[Evidence], *, fingerprint: str, view: View) -> Chain | None:
    """Return the chain, even if it ends before the view."""
    hours: set[TimeRange] = set()
    ends: list[tuple[int, str]] = []
    for evidence in newest_first:
        if evidence.fingerprint != fingerprint:
            break
        if not view.believes(evidence):
            continue
        if isinstance(evidence, SnapshotCompleted):
            ends.append((evidence.before, evidence.snapshot))
        elif isinstance(evidence, HourCompleted):
            hours.add(evidence.hour)
            if evidence.chain_from is not None:
                ends.append((evidence.hour.last, evidence.chain_from))
    if not ends:
        return None
    end, snapshot = max(ends)
    for hour in sorted(hours):
        if hour.first <= end + 1:
            end = max(end, hour.last)
    return Chain(snapshot=snapshot, end=end, hours=frozenset(hour for hour in hours if hour.last > end))
