"""The quarantine: what could not be imported, and how each outcome of a sync changes that. Pure.

An entry is a window or an hour that failed, or that is imported except for some contacts. It leaves when all of it is
imported, by whatever means: a retry, a later hour in which a refused contact has changed, a whole new snapshot.
Windows of two snapshots may share a key: each of them keeps the entry open.

Only failures of a window, hour or contact itself belong here. If an account, a key or a list is unusable, its windows
and hours stay as they are, and the next sync reads them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from importer_pipeline.engine.outcomes import (
    AudienceDone,
    ContactsRefused,
    ContactsRefusedAgain,
    ContactsSettled,
    HourFailed,
    HourImported,
    Outcome,
    Part,
    PartitionRef,
    RefusedContact,
    WindowFailed,
    WindowImported,
)
from importer_pipeline.errors import ImporterError, QuarantineWindow
from importer_pipeline.listing.hours import parse_hour_key
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.records.contacts import ID_OF_NO_ADDRESS


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The reason why something could not be imported, with its attempts."""

    reason: str
    """The reason and the remedy, without personal data."""
    snapshot: str
    """ID of the snapshot that it was read for; "" if none."""
    attempts: int
    first_seen: int
    """Epoch seconds, as the next."""
    last_seen: int

    @classmethod
    def of(cls, reason: str, *, snapshot: str, before: "Failure | None", now: float) -> "Failure":
        """Return the failure with one more attempt, or a first one."""
        first_seen, attempts = (int(now), 0) if before is None else (before.first_seen, before.attempts)
        return cls(reason=reason, snapshot=snapshot, attempts=attempts + 1, first_seen=first_seen, last_seen=int(now))


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """The parts of a window or an hour that are not imported."""

    ref: PartitionRef
    fingerprint: str
    """Fingerprint that it was last read with; "" if unknown."""
    failures: dict[str, Failure] = field(default_factory=dict[str, Failure])
    """Failures of the window or hour by snapshot ID, "" for an hour; empty if only contacts are missing."""
    contacts: dict[str, Failure] = field(default_factory=dict[str, Failure])
    """Its refused contacts by Mailchimp's ID; "" stands for all without one."""

    @property
    def is_open(self) -> bool:
        """True if anything of it is still not imported."""
        return bool(self.failures or self.contacts)

    @property
    def reason(self) -> str:
        """The reason why it is not imported; of several, the first."""
        return next((it.reason for it in (*self.failures.values(), *self.contacts.values())), "")

    @property
    def contact_ids(self) -> frozenset[str]:
        """IDs of its contacts that can be requested by ID."""
        return frozenset(self.contacts) - {""}


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRule:
    """The rule for automatic retries."""

    first_pause_seconds: float = 3000.0
    """Pause before the first retry, just under an hour; doubled for each further one."""
    longest_pause_seconds: float = 24 * 3600.0
    """Maximum pause."""
    attempts: int = 10
    """Maximum number of attempts, the first included; further ones need a person."""

    def is_due(self, failure: Failure, *, now: float) -> bool:
        """Return whether a failure is due for a retry."""
        if failure.attempts >= self.attempts:
            return False
        pause = self.first_pause_seconds * 2.0 ** min(failure.attempts - 1, 20)
        return now - failure.last_seen >= min(pause, self.longest_pause_seconds)


class Quarantine:
    """The open entries of some audiences.

    Args:
        entries: the open entries.
        began: when the current run began, in epoch seconds.

    Attributes:
        entries: the open entries, by window or hour.
    """

    def __init__(self, entries: Iterable[Entry] = (), *, began: float) -> None:
        self._began = began
        self._came_in: set[PartitionRef] = set()
        self._read: set[PartitionRef] = set()
        self.entries: dict[PartitionRef, Entry] = {entry.ref: entry for entry in entries}

    def of(self, name: AudienceName) -> list[Entry]:
        """Return the open entries of an audience."""
        return [entry for ref, entry in self.entries.items() if ref.name == name]

    def note(self, outcome: Outcome, *, now: float) -> list[PartitionRef]:
        """Apply an outcome.

        Args:
            outcome: reported by a sync.
            now: epoch seconds.

        Returns:
            the entries that were opened, changed or closed; closed ones are no longer in `entries`.
        """
        match outcome:
            case ContactsRefused():
                return self._refused(outcome, now)
            case ContactsRefusedAgain(name=name, contacts=contacts):
                return [ref for entry in self.of(name) for ref in self._refused_again(entry, contacts, now)]
            case ContactsSettled(name=name, contact_ids=ids):
                return [ref for entry in self.of(name) for ref in self._without(entry, ids)]
            case WindowFailed(name=name, window=key, error=error):
                ref = PartitionRef(name=name, part=Part.WINDOW, key=key)
                return self._failed(ref, outcome.fingerprint, outcome.snapshot_id, error, now)
            case HourFailed(name=name, hour=key, error=error):
                return self._failed(
                    PartitionRef(name=name, part=Part.HOUR, key=key), outcome.fingerprint, "", error, now
                )
            case WindowImported(name=name, window=key, is_kept=is_kept):
                ref = PartitionRef(name=name, part=Part.WINDOW, key=key)
                self._came_in.add(ref)
                if not is_kept:
                    self._read.add(ref)
                return []
            case HourImported(name=name, hour=key):
                return self._hour_in(PartitionRef(name=name, part=Part.HOUR, key=key))
            case AudienceDone():
                return self._done(outcome)
            case _:
                return []

    def forget(self, ref: PartitionRef) -> None:
        """Drop an entry, even if it is still open."""
        self.entries.pop(ref, None)

    def _refused(self, outcome: ContactsRefused, now: float) -> list[PartitionRef]:
        entry = self._entry(outcome.ref, outcome.fingerprint)
        contacts = entry.contacts | {
            (known := _own_id(contact)): Failure.of(
                contact.reason, snapshot=outcome.snapshot_id or "", before=entry.contacts.get(known), now=now
            )
            for contact in outcome.contacts
        }
        return self._put(replace(entry, contacts=contacts))

    def _refused_again(self, entry: Entry, contacts: Iterable[RefusedContact], now: float) -> list[PartitionRef]:
        again = {
            contact.contact_id: Failure.of(contact.reason, snapshot=known.snapshot, before=known, now=now)
            for contact in contacts
            if (known := entry.contacts.get(contact.contact_id)) is not None
        }
        return self._put(replace(entry, contacts=entry.contacts | again)) if again else []

    def _without(self, entry: Entry, ids: frozenset[str]) -> list[PartitionRef]:
        rest = {of: failure for of, failure in entry.contacts.items() if of not in ids - {""}}
        return self._put(replace(entry, contacts=rest)) if len(rest) < len(entry.contacts) else []

    def _failed(
        self, ref: PartitionRef, fingerprint: str, snapshot: str, error: ImporterError, now: float
    ) -> list[PartitionRef]:
        if not isinstance(error, QuarantineWindow):
            return []
        entry = self._entry(ref, fingerprint)
        failure = Failure.of(str(error), snapshot=snapshot, before=entry.failures.get(snapshot), now=now)
        return self._put(replace(entry, failures=entry.failures | {snapshot: failure}))

    def _hour_in(self, ref: PartitionRef) -> list[PartitionRef]:
        """Close a fully read hour. Its contacts without an ID have just been reported again if still refused."""
        entry = self.entries.get(ref)
        if entry is None:
            return []
        contacts = self._without_old_nameless(entry.contacts, "")
        if not entry.failures and contacts == entry.contacts:
            return []
        return self._put(replace(entry, failures={}, contacts=contacts))

    def _without_old_nameless(self, contacts: dict[str, Failure], snapshot: str) -> dict[str, Failure]:
        """Return the contacts; those without an ID only if reported by this run or read for another snapshot."""
        without_id = contacts.get("")
        if without_id is None or without_id.snapshot != snapshot or without_id.last_seen >= int(self._began):
            return contacts
        return {key: failure for key, failure in contacts.items() if key}

    def _done(self, outcome: AudienceDone) -> list[PartitionRef]:
        """Close imported windows: only now have the gaps between them been read as well.

        A snapshot that is accounted for replaces everything that was read before it.
        """
        snapshot = outcome.snapshot
        if snapshot is None or not (outcome.error is None or isinstance(outcome.error, QuarantineWindow)):
            return []
        changed: list[PartitionRef] = []
        for entry in self.of(outcome.name):
            failures, contacts = dict(entry.failures), dict(entry.contacts)
            if entry.ref.part is Part.WINDOW:
                is_imported = entry.ref.key not in outcome.parts.failed and (
                    entry.ref in self._came_in or not outcome.parts.left
                )
                if is_imported:
                    failures.pop(snapshot.id, None)
                    if entry.ref in self._read:
                        contacts = self._without_old_nameless(contacts, snapshot.id)
                if outcome.is_accounted_for:
                    failures = {of: failure for of, failure in failures.items() if of == snapshot.id}
                    contacts = {of: failure for of, failure in contacts.items() if failure.snapshot == snapshot.id}
            elif outcome.is_accounted_for and _is_over_at(entry.ref, snapshot.before):
                failures, contacts = {}, {}
            if failures != entry.failures or contacts != entry.contacts:
                changed += self._put(replace(entry, failures=failures, contacts=contacts))
        return changed

    def _entry(self, ref: PartitionRef, fingerprint: str) -> Entry:
        known = self.entries.get(ref)
        return Entry(ref=ref, fingerprint=fingerprint) if known is None else replace(known, fingerprint=fingerprint)

    def _put(self, entry: Entry) -> list[PartitionRef]:
        if entry.is_open:
            self.entries[entry.ref] = entry
        else:
            self.forget(entry.ref)
        return [entry.ref]


def _own_id(contact: RefusedContact) -> str:
    """Return the ID by which the contact can be requested; "" if it has none of its own."""
    return "" if contact.contact_id == ID_OF_NO_ADDRESS else contact.contact_id


def _is_over_at(ref: PartitionRef, moment: int) -> bool:
    hour = parse_hour_key(ref.key)
    return hour is not None and hour.last <= moment
