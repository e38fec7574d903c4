"""What could not be imported, kept until it was. Pure: what stands in it, and how each outcome of a sync changes that.

An entry is a window of a snapshot or an hour that failed, or that is in but for some contacts. It leaves when all of it is in,
whoever brought it in: a retry, a later hour in which a refused contact has changed, a whole new snapshot. Windows of two
snapshots may have the same key: each of them keeps the entry open for itself.

Only what failed by itself comes here. Where an account, a key or a list is of no use, the windows and hours are left as they
are, and the next sync reads them.
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
    """Something that could not be imported, and how often that was tried."""

    reason: str
    """Why, and what to do, without personal data."""
    snapshot: str
    """Id of the snapshot that it was read for; "" where it was not read for one."""
    attempts: int
    first_seen: int
    """Epoch seconds, as the next."""
    last_seen: int

    @classmethod
    def of(cls, reason: str, *, snapshot: str, before: "Failure | None", now: float) -> "Failure":
        """The same once more, or for the first time."""
        first_seen, attempts = (int(now), 0) if before is None else (before.first_seen, before.attempts)
        return cls(reason=reason, snapshot=snapshot, attempts=attempts + 1, first_seen=first_seen, last_seen=int(now))


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is not in of a window or an hour."""

    ref: PartitionRef
    fingerprint: str
    """What it was read for last; "" where nobody knows."""
    failures: dict[str, Failure] = field(default_factory=dict[str, Failure])
    """Why the window or hour is not in, by the snapshot's id, "" for an hour. None if all of it is but for some contacts."""
    contacts: dict[str, Failure] = field(default_factory=dict[str, Failure])
    """Its contacts that are not in, by Mailchimp's id; "" stands for all without one."""

    @property
    def is_open(self) -> bool:
        """Whether anything of it is still not in."""
        return bool(self.failures or self.contacts)

    @property
    def contact_ids(self) -> frozenset[str]:
        """Those of its contacts that can be asked for by their ids."""
        return frozenset(self.contacts) - {""}


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRule:
    """When what is in the quarantine is tried again without anyone asking for it."""

    first_pause_seconds: float = 3000.0
    """The rest before the first retry, a little less than an hour; doubled with each further one."""
    longest_pause_seconds: float = 24 * 3600.0
    """No rest is longer."""
    attempts: int = 10
    """How often something is tried, the first time included; after that a person has to ask for it."""

    def is_due(self, trouble: Failure, *, now: float) -> bool:
        """Whether it is time."""
        if trouble.attempts >= self.attempts:
            return False
        pause = self.first_pause_seconds * 2.0 ** min(trouble.attempts - 1, 20)
        return now - trouble.last_seen >= min(pause, self.longest_pause_seconds)


class Quarantine:
    """The open entries of some audiences.

    Args:
        entries: what is open.
        began: when the run began that changes them, in epoch seconds.

    Attributes:
        entries: by window or hour.
    """

    def __init__(self, entries: Iterable[Entry] = (), *, began: float) -> None:
        self._began = began
        self._came_in: set[PartitionRef] = set()
        self._read: set[PartitionRef] = set()
        self.entries: dict[PartitionRef, Entry] = {entry.ref: entry for entry in entries}

    def of(self, name: AudienceName) -> list[Entry]:
        """The open entries of an audience."""
        return [entry for ref, entry in self.entries.items() if ref.name == name]

    def note(self, outcome: Outcome, *, now: float) -> list[PartitionRef]:
        """Take in what came of something.

        Args:
            outcome: what a sync tells.
            now: epoch seconds.

        Returns:
            the entries that were opened, changed, or closed: the last ones are in `entries` no more.
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
        """Drop an entry, whatever is not in of it."""
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
        rest = {of: trouble for of, trouble in entry.contacts.items() if of not in ids - {""}}
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
        """All of an hour has been read. Its contacts without an id, if they are still refused, have just been told of."""
        entry = self.entries.get(ref)
        if entry is None:
            return []
        contacts = self._without_old_nameless(entry.contacts, "")
        if not entry.failures and contacts == entry.contacts:
            return []
        return self._put(replace(entry, failures={}, contacts=contacts))

    def _without_old_nameless(self, contacts: dict[str, Failure], snapshot: str) -> dict[str, Failure]:
        """The contacts without those that have no id, unless this run told of them, or they were read for another snapshot."""
        nameless = contacts.get("")
        if nameless is None or nameless.snapshot != snapshot or nameless.last_seen >= int(self._began):
            return contacts
        return {key: trouble for key, trouble in contacts.items() if key}

    def _done(self, outcome: AudienceDone) -> list[PartitionRef]:
        """Windows that came in leave only now: what lies between them has been read as well.

        A snapshot of which all is accounted for stands for all that was read before it, too.
        """
        snapshot = outcome.snapshot
        if snapshot is None or not (outcome.error is None or isinstance(outcome.error, QuarantineWindow)):
            return []
        changed: list[PartitionRef] = []
        for entry in self.of(outcome.name):
            failures, contacts = dict(entry.failures), dict(entry.contacts)
            if entry.ref.part is Part.WINDOW:
                is_imported = entry.ref.key not in outcome.failed and (entry.ref in self._came_in or not outcome.left)
                if is_imported:
                    failures.pop(snapshot.id, None)
                    if entry.ref in self._read:
                        contacts = self._without_old_nameless(contacts, snapshot.id)
                if outcome.is_accounted_for:
                    failures = {of: trouble for of, trouble in failures.items() if of == snapshot.id}
                    contacts = {of: trouble for of, trouble in contacts.items() if trouble.snapshot == snapshot.id}
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
    """The id by which the contact can be asked for; "" where it has none of its own."""
    return "" if contact.contact_id == ID_OF_NO_ADDRESS else contact.contact_id


def _is_over_at(ref: PartitionRef, moment: int) -> bool:
    hour = parse_hour_key(ref.key)
    return hour is not None and hour.last <= moment
