"""The outcomes that a sync reports: windows, hours and audiences, imported or failed. Records."""

from dataclasses import dataclass
from enum import Enum

from importer_pipeline.errors import ImporterError, QuarantineWindow
from importer_pipeline.listing.coverage import TimeRange
from importer_pipeline.listing.snapshots import AudienceName, ImportedWindow, Snapshot


class Part(Enum):
    """The unit by which an audience is imported. The first two values are the last part of an asset key."""

    WINDOW = "contact_windows"
    HOUR = "contact_changes"
    CONTACT = "contacts by their ids"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionRef:
    """A window of an audience's snapshot, or an hour."""

    name: AudienceName
    part: Part
    key: str
    """The partition's: see `snapshots.window_key` and `hours.hour_key`."""

    def __str__(self) -> str:
        return f"{self.name}/{self.part.value}/{self.key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedContact:
    """A contact that can't be imported for now."""

    contact_id: str
    """Mailchimp's `id`; "" where it has none."""
    reason: str
    """The reason and the remedy, without personal data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FingerprintChanged:
    """Contacts are about to be sent with another fingerprint than before, though not with a snapshot."""

    name: AudienceName
    fingerprint: str
    """The new fingerprint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotKnown:
    """The snapshot that is read: reported before its first window, and again when more of it is known."""

    name: AudienceName
    snapshot: Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowImported:
    """All contacts of a window are at the target or quarantined. Reported again when a window below a gap grows."""

    name: AudienceName
    snapshot_id: str
    window: str
    """Its key: see `snapshots.window_key`."""
    imported: ImportedWindow
    """What history keeps of it."""
    elapsed_seconds: float
    """From its first request to its last delivery."""
    is_kept: bool = False
    """True if it was imported by an earlier run, and has only grown in this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowFailed:
    """A window could not be imported."""

    name: AudienceName
    snapshot_id: str
    window: str
    fingerprint: str
    """Fingerprint that it was read with."""
    error: ImporterError


@dataclass(frozen=True, slots=True, kw_only=True)
class HourImported:
    """All contacts that changed in an hour are at the target or in the quarantine."""

    name: AudienceName
    hour: str
    """Its key: see `hours.hour_key`."""
    fingerprint: str
    """Fingerprint that it was read with."""
    walk: TimeRange
    """The seconds of the walk that it is an hour of."""
    chain_from: str | None
    """ID of the snapshot that begins its chain; None if it was imported by itself."""
    read: int
    """Contacts read that changed in it."""
    accepted: int
    """Contacts of them that the target accepted."""
    refused: int
    """Contacts of them that went to the quarantine."""
    lag_seconds: int | None
    """The longest time from a change in it to the target, by Mailchimp's clock; None where nothing changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HourFailed:
    """An hour could not be imported."""

    name: AudienceName
    hour: str
    fingerprint: str
    """Fingerprint that it was read with."""
    error: ImporterError


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactsRefused:
    """Refused contacts of a window or an hour, which counts as imported; reported before it is."""

    ref: PartitionRef
    snapshot_id: str | None
    """ID of a window's snapshot."""
    fingerprint: str
    """Fingerprint that they were read with."""
    contacts: tuple[RefusedContact, ...]

    @property
    def name(self) -> AudienceName:
        """Name of the audience."""
        return self.ref.name


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactsRefusedAgain:
    """Contacts of the quarantine that were requested by their IDs and still cannot be imported."""

    name: AudienceName
    contacts: tuple[RefusedContact, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactsSettled:
    """Contacts of the quarantine that are at the target now, or gone from Mailchimp."""

    name: AudienceName
    contact_ids: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartCounts:
    """What became of the windows of a snapshot, as far as they are known, or of the requested hours or contacts."""

    total: int = 0
    """All of them."""
    failed: tuple[str, ...] = ()
    """Keys of the windows or hours that could not be imported, in order."""
    left: int = 0
    """Number of those neither imported nor failed: not requested, or left by a stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadTotals:
    """What was read of an audience; of a snapshot, in all runs."""

    read: int = 0
    """Contacts read, each once in a run."""
    read_again: int = 0
    """How often this run read one of them again, since windows overlap."""
    accepted: int = 0
    """Contacts read that the target accepted."""
    refused: int = 0
    """Different contacts that the target refused or that could not be sent."""
    requests: int = 0
    """Requests to Mailchimp, failed ones included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCounts:
    """What one run did for an audience."""

    accepted: int = 0
    """Contacts that the target accepted."""
    refused: int = 0
    """Different contacts that were refused."""
    elapsed_seconds: float = 0.0
    """From its first request to its last outcome."""

    @property
    def accepted_per_second(self) -> float:
        """Contacts accepted per second."""
        return self.accepted / self.elapsed_seconds if self.elapsed_seconds else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AudienceDone:
    """The end of an audience in this run."""

    name: AudienceName
    part: Part
    """The unit by which it was read."""
    snapshot: Snapshot | None
    """None if no snapshot was read, or not even its first page."""
    parts: PartCounts
    """Its windows, hours or contacts."""
    is_proved: bool
    """True if it is proved that no contact of the snapshot, or of the hours, was missed."""
    totals: ReadTotals
    """What was read of it."""
    run: RunCounts
    """What this run did."""
    lacking: tuple[str, ...]
    """Mapped paths that none of its contacts has."""
    error: ImporterError | None
    """The error that stopped it, or that of the first window or hour that failed."""

    @property
    def complete(self) -> bool:
        """True if every contact of the snapshot, or of the hours, is at the target or refused."""
        return self.error is None and self.is_proved

    @property
    def is_accounted_for(self) -> bool:
        """True if every contact is at the target or in the quarantine, by itself or with its window or hour."""
        if self.part is Part.WINDOW and (self.snapshot is None or self.snapshot.archived_total is None):
            return False
        return self.complete or (self.parts.left == 0 and isinstance(self.error, QuarantineWindow))


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Counts for the log line of a running sync."""

    contacts: int
    """Contacts to read, as far as is known."""
    accepted: int
    """Contacts that the targets have accepted."""
    audiences: int
    """Audiences in all."""
    open_audiences: int
    """Audiences that are not done."""


Outcome = (
    FingerprintChanged
    | SnapshotKnown
    | WindowImported
    | WindowFailed
    | HourImported
    | HourFailed
    | ContactsRefused
    | ContactsRefusedAgain
    | ContactsSettled
    | AudienceDone
)
