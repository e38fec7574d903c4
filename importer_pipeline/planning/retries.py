"""Which of the quarantine is tried again, and how. Pure.

A refused contact is asked for by its id. A failed window is read in its snapshot if that is still the newest; where a newer one
has been taken, only that one can bring its contacts in, as a whole. A failed hour is read by its time. Contacts without an id
are read with their hour, or with their window while its snapshot is the newest: later they come in with the next snapshot.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from importer_pipeline.engine.outcomes import Part, PartitionRef
from importer_pipeline.listing.coverage import TimeRange, joined
from importer_pipeline.listing.hours import parse_hour_key
from importer_pipeline.listing.snapshots import Snapshot
from importer_pipeline.planning.quarantine import Entry, Failure, RetryRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which of the quarantine is tried again."""

    refs: frozenset[PartitionRef] | None
    """Single entries; None for all."""
    rule: RetryRule | None
    """Only what is due by it; None for all."""

    def has(self, ref: PartitionRef, trouble: Failure, *, now: float) -> bool:
        """Whether something is tried again."""
        is_named = self.refs is None or ref in self.refs
        return is_named and (self.rule is None or self.rule.is_due(trouble, now=now))


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How it is tried again."""

    contact_ids: tuple[str, ...]
    """Contacts to ask for by their ids."""
    windows: frozenset[str]
    """Keys of windows of the newest snapshot."""
    whole_snapshot: bool
    """Whether a snapshot has to be brought in as a whole."""
    hours: tuple[TimeRange, ...]
    """Hours, those that follow one another together."""


def retries(entries: Iterable[Entry], wanted: Wanted, *, snapshot: Snapshot | None, now: float) -> Retries:
    """What to do about entries of one audience.

    Args:
        entries: what is open.
        wanted: which of it is tried again.
        snapshot: the newest one of the audience.
        now: epoch seconds.
    """
    contact_ids: set[str] = set()
    windows: set[str] = set()
    hours: list[TimeRange] = []
    whole_snapshot = False
    for entry in entries:
        ref = entry.ref
        contact_ids |= {
            contact_id for contact_id in entry.contact_ids if wanted.has(ref, entry.contacts[contact_id], now=now)
        }
        nameless = entry.contacts.get("")
        reads_nameless = nameless is not None and wanted.has(ref, nameless, now=now)
        failed = [trouble for trouble in entry.failures.values() if wanted.has(ref, trouble, now=now)]
        if ref.part is Part.HOUR:
            hour = parse_hour_key(ref.key)
            hours += [hour] if hour is not None and (failed or reads_nameless) else []
            continue
        newest = None if snapshot is None else snapshot.id
        if any(trouble.snapshot != newest for trouble in failed):
            whole_snapshot = True
        if any(trouble.snapshot == newest for trouble in failed):
            windows.add(ref.key)
        if reads_nameless and nameless is not None and nameless.snapshot == newest:
            windows.add(ref.key)
    return Retries(
        contact_ids=tuple(sorted(contact_ids)),
        windows=frozenset(windows),
        whole_snapshot=whole_snapshot,
        hours=tuple(joined(hours)),
    )
