"""How far an audience is synced without a gap, and what follows from there. Pure.

A chain begins with a snapshot of which everything is in or in the quarantine, and goes on over the hours since, as long as none
is missing that is not in the quarantine. It is a chain of one list, one target and one mapping: its fingerprint. What is proved
is that every contact whose `last_changed` lies before the chain's end, and who has stood still since, is at the target or known
to the quarantine, by itself or with its window or hour. It says nothing of when that was read, so hours may have been brought
in in any order, and again.

What stands in the way of it ends it there:

- An hour that was not brought in is a hole: the hours behind it count for nothing until it is filled. One that failed by
  itself is in the quarantine, and the sync that read it adds the hours behind it to the chain.
- An event of another fingerprint ends all that was before it. The target has been sent records of another kind since, so even
  going back to what the clients file said earlier begins anew.
- Events that are not ours, such as those that people report by hand, count for nothing. Nor does one that ends in the
  future, by our clock now or when the event was written: a clock was wrong, and what it claims was not over.
- A chain that ends before the first hour in view is none: a full sync is cheaper than the hours since.

An hour says what chain it was added to if it was written by a sync that went on from a chain's end. Such an hour proves the
chain up to its own end, whatever became of the events before it: they may be wiped, or pruned with their runs.
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
    """All of a snapshot was brought in, or is in the quarantine."""

    fingerprint: str
    snapshot: str
    """Its id."""
    before: int
    """Epoch seconds: it holds all contacts changed up to then."""
    written: float = field(default=math.inf, compare=False)
    """When that was written down, in epoch seconds by our clock; infinite where nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HourCompleted:
    """All contacts changed in an hour were brought in."""

    fingerprint: str
    hour: TimeRange
    chain_from: str | None
    """Id of the snapshot that begins the chain which it was added to; None if it was brought in by itself."""
    written: float = field(default=math.inf, compare=False)
    """When that was written down, in epoch seconds by our clock; infinite where nobody knows."""


Evidence = SnapshotTaken | FormChanged | SnapshotCompleted | HourCompleted
"""What stands in the event log of an audience."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Of which moments evidence may speak."""

    now: float
    """Epoch seconds, by our clock."""
    oldest: int
    """The first second of the first hour in view."""
    tolerance_seconds: float
    """How far Mailchimp's clock may be ahead of ours."""

    def is_over(self, moment: int, *, written: float) -> bool:
        """Tell whether a moment of Mailchimp's clock was over when something about it was written, and is now."""
        return moment <= min(self.now, written) + self.tolerance_seconds

    def believes(self, evidence: Evidence) -> bool:
        """Tell whether evidence counts: it does not where it ends in the future."""
        if isinstance(evidence, SnapshotCompleted):
            return self.is_over(evidence.before, written=evidence.written)
        if isinstance(evidence, HourCompleted):
            return self.is_over(evidence.hour.last, written=evidence.written)
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """All that changed up to a moment is in."""

    snapshot: str
    """Id of the snapshot that it begins with."""
    end: int
    """The last second of it, in epoch seconds."""
    hours: frozenset[TimeRange]
    """Hours behind its end that have been brought in already."""


def chain_of(newest_first: Iterable[Evidence], *, fingerprint: str, view: View) -> Chain | None:
    """The chain of an audience, or None where there is none and only a full sync can begin one.

    Args:
        newest_first: all that is known of the audience, in the order in which it was written, the newest first. It may end
            with the newest hour that was added to a chain and the newest snapshot that is in, of those that the view
            believes: what is older adds nothing.
        fingerprint: what the audience is now.
        view: which evidence counts, and how old a chain may be.
    """
    chain = _proved(newest_first, fingerprint=fingerprint, view=view)
    return None if chain is None or chain.end + 1 < view.oldest else chain


def why_no_chain(newest_first: Sequence[Evidence], *, fingerprint: str, view: View) -> str:
    """Return why there is none, as the end of a sentence."""
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
    """Tell whether contacts have been sent for another fingerprint since the newest snapshot was taken, or it is of another."""
    for evidence in newest_first:
        if evidence.fingerprint != fingerprint:
            return True
        if isinstance(evidence, SnapshotTaken):
            return False
    return False


def _proved(newest_first: Iterable[Evidence], *, fingerprint: str, view: View) -> Chain | None:
    """The chain, however old it is."""
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
