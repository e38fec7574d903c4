"""Where a contact is on its way to the target, judged from what Mailchimp holds and what was recorded. Pure.

The judgement is that of `docs/guarantee.md`: what changed up to the watermark, and not since, is at the target or in
the quarantine. Stays out: reading any of it (`explain.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from importer_pipeline.cli.standings import REDRIVE
from importer_pipeline.engine.outcomes import Part, PartitionRef
from importer_pipeline.listing.coverage import timestamp
from importer_pipeline.listing.hours import hour_key
from importer_pipeline.listing.snapshots import AudienceName, SnapshotProgress, parse_window_key
from importer_pipeline.planning.chain import Chain
from importer_pipeline.planning.quarantine import Entry, Failure
from importer_pipeline.records.contacts import ID_OF_NO_ADDRESS


class Place(Enum):
    """Where a contact is."""

    IMPORTED = "imported"
    AHEAD = "ahead of the watermark"
    PAUSED = "not imported: its account is paused"
    QUARANTINED = "in quarantine"
    FAILED = "in a window or hour that failed"
    UNSYNCED = "not imported"
    ABSENT = "not in Mailchimp"

    @property
    def is_well(self) -> bool:
        """True if nobody has to do anything."""
        return self in (Place.IMPORTED, Place.AHEAD, Place.ABSENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldContact:
    """A contact as Mailchimp holds it now.

    Attributes:
        contact_id: Mailchimp's `id`.
        changed: its last change, in epoch seconds.
        archived: True if it is archived.
    """

    contact_id: str
    changed: int
    archived: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """Where a contact of an audience is, why, and what to do.

    Attributes:
        place: where it is.
        partition: the window or hour that it falls into, as a partition of the quarantine is called; "" if unknown.
        why: how that is known.
        remedy: what to do; "" if nothing.
    """

    place: Place
    partition: str
    why: str
    remedy: str


def whereabouts(
    contact_id: str,
    held: HeldContact | None,
    *,
    name: AudienceName,
    chain: Chain | None,
    why_no_chain: str,
    entries: Sequence[Entry],
    progress: SnapshotProgress | None,
    why_paused: str,
) -> Whereabouts:
    """Judge where a contact is.

    Args:
        contact_id: Mailchimp's `id` that was asked about.
        held: the contact at Mailchimp; None if the audience has none with that id.
        name: the audience.
        chain: its chain; None if it needs a full sync.
        why_no_chain: the reason, as the end of a sentence.
        entries: its entries in the quarantine.
        progress: its newest snapshot.
        why_paused: why its account is paused, as a sentence; "" if it is not.
    """
    refused = _refused(contact_id, entries)
    if held is None:
        return _absent(refused)
    if refused is not None:
        ref, failure = refused
        return Whereabouts(
            place=Place.QUARANTINED,
            partition=str(ref),
            why=f"{failure.reason} ({failure.attempts} attempts, last {timestamp(failure.last_seen)})",
            remedy=f"correct the cause, then: {REDRIVE}",
        )
    part = _part_of(held, name, chain, progress)
    failed = _failed(held, part, entries, chain, progress)
    if failed is not None:
        reasons = "; ".join(failure.reason for failure in failed.failures.values())
        return Whereabouts(
            place=Place.FAILED,
            partition=str(failed.ref),
            why=f"this part could not be imported completely: {reasons}",
            remedy=f"correct the cause, then: {REDRIVE}",
        )
    found = _by_time(held, part, chain, why_no_chain, progress, name=name)
    if not why_paused or found.place is Place.IMPORTED:
        return found
    return replace(
        found,
        place=Place.PAUSED,
        why=f"{found.why}; {why_paused}, so it is asked once a day",
        remedy=f"correct the key, then: importer sync {name}",
    )


def _absent(refused: tuple[PartitionRef, Failure] | None) -> Whereabouts:
    if refused is None:
        return Whereabouts(
            place=Place.ABSENT,
            partition="",
            why="Mailchimp has no such contact in this audience",
            remedy="if it was deleted permanently, or had another address before, its former record is still at the target",
        )
    return Whereabouts(
        place=Place.QUARANTINED,
        partition=str(refused[0]),
        why="it is gone from Mailchimp, and leaves the quarantine with the next retry",
        remedy="",
    )


def _by_time(
    held: HeldContact,
    part: PartitionRef | None,
    chain: Chain | None,
    why_no_chain: str,
    progress: SnapshotProgress | None,
    *,
    name: AudienceName,
) -> Whereabouts:
    partition, changed = "" if part is None else str(part), timestamp(held.changed)
    if chain is not None and held.changed <= chain.end:
        why = f"its last change, {changed}, is not after the watermark, {timestamp(chain.end)}"
        return Whereabouts(place=Place.IMPORTED, partition=partition, why=why, remedy="")
    if chain is not None and any(hour.first <= held.changed <= hour.last for hour in chain.hours):
        why = f"its last change, {changed}, is in an hour that was imported by itself"
        return Whereabouts(place=Place.IMPORTED, partition=partition, why=why, remedy="")
    if _window_of(held, progress) is not None:
        why = f"its last change, {changed}, is in an imported window of a snapshot that is not complete yet"
        return Whereabouts(place=Place.IMPORTED, partition=partition, why=why, remedy="")
    if chain is not None:
        return Whereabouts(
            place=Place.AHEAD,
            partition=partition,
            why=f"its last change, {changed}, is after the watermark, {timestamp(chain.end)}",
            remedy=f"the next sync imports it, a minute after its hour is over: importer sync {name}",
        )
    return Whereabouts(
        place=Place.UNSYNCED,
        partition=partition,
        why=f"the audience needs a full sync: {why_no_chain}",
        remedy=f"importer sync --full {name}",
    )


def _refused(contact_id: str, entries: Sequence[Entry]) -> tuple[PartitionRef, Failure] | None:
    """Return the entry that has the contact; all contacts without an id of their own are one."""
    known = "" if contact_id == ID_OF_NO_ADDRESS else contact_id
    found = ((entry.ref, entry.contacts[known]) for entry in entries if known in entry.contacts)
    return max(found, key=lambda it: it[1].last_seen, default=None)


def _part_of(
    held: HeldContact, name: AudienceName, chain: Chain | None, progress: SnapshotProgress | None
) -> PartitionRef | None:
    """Return the window or hour that the contact's last change falls into; None if no imported window has it."""
    if progress is not None and held.changed <= progress.snapshot.before:
        key = _window_of(held, progress)
        return None if key is None else PartitionRef(name=name, part=Part.WINDOW, key=key)
    if chain is None:
        return None
    return PartitionRef(name=name, part=Part.HOUR, key=hour_key(held.changed))


def _window_of(held: HeldContact, progress: SnapshotProgress | None) -> str | None:
    windows = {} if progress is None else progress.windows
    for key, window in windows.items():
        parsed = parse_window_key(key)
        is_of_walk = parsed is not None and parsed[0] == held.archived
        if is_of_walk and any(it.first <= held.changed <= it.last for it in window.covered):
            return key
    return None


def _failed(
    held: HeldContact,
    part: PartitionRef | None,
    entries: Sequence[Entry],
    chain: Chain | None,
    progress: SnapshotProgress | None,
) -> Entry | None:
    """Return the entry of the window or hour that failed with the contact in it."""
    failing: Mapping[PartitionRef, Entry] = {entry.ref: entry for entry in entries if entry.failures}
    if part is not None:
        return failing.get(part)
    if progress is None or chain is None or chain.snapshot != progress.snapshot.id:
        return None
    # The snapshot is accounted for, and no imported window has the contact: a failed one of its walk does.
    for ref, entry in failing.items():
        parsed = parse_window_key(ref.key) if ref.part is Part.WINDOW else None
        if parsed is not None and parsed[0] == held.archived:
            return entry
    return None
