"""What a sync tells while it goes: snapshots, windows and hours that are in or failed, audiences that are done. Records."""

from dataclasses import dataclass
from enum import Enum

from importer_pipeline.errors import ImporterError, QuarantineWindow
from importer_pipeline.listing.coverage import TimeRange
from importer_pipeline.listing.snapshots import AudienceName, ImportedWindow, Snapshot


class Part(Enum):
    """What an audience is imported by. Of the first two each is the last part of its asset's key."""

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
    """What refused it and what to do, without personal data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FingerprintChanged:
    """Contacts are about to be sent for another list, target or mapping than the last ones, though not with a snapshot."""

    name: AudienceName
    fingerprint: str
    """What they are sent for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotKnown:
    """The snapshot that is read: told before its first window, and again when Mailchimp has told more of it."""

    name: AudienceName
    snapshot: Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowImported:
    """All contacts of a window are at the target or in the quarantine. Told again when a window below a gap grows."""

    name: AudienceName
    snapshot_id: str
    window: str
    """Its key: see `snapshots.window_key`."""
    imported: ImportedWindow
    """What is kept of it."""
    elapsed_seconds: float
    """From its first request to its last delivery."""
    is_kept: bool = False
    """Whether it was imported by an earlier run, and has only grown in this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowFailed:
    """A window could not be imported."""

    name: AudienceName
    snapshot_id: str
    window: str
    fingerprint: str
    """What it was read for."""
    error: ImporterError


@dataclass(frozen=True, slots=True, kw_only=True)
class HourImported:
    """All contacts that changed in an hour are at the target or in the quarantine."""

    name: AudienceName
    hour: str
    """Its key: see `hours.hour_key`."""
    fingerprint: str
    """What it was read for."""
    walk: TimeRange
    """The seconds of the walk that it is an hour of."""
    chain_from: str | None
    """Id of the snapshot that begins the chain which it was added to; None if it was brought in by itself."""
    read: int
    """Contacts read that changed in it; pages overlap, so a few are counted twice."""
    accepted: int
    """Contacts of them that the target took."""
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
    """What it was read for."""
    error: ImporterError


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactsRefused:
    """Contacts of a window or an hour that can't be imported for now; it counts as in. Told before it does."""

    ref: PartitionRef
    snapshot_id: str | None
    """Of a window."""
    fingerprint: str
    """What they were read for."""
    contacts: tuple[RefusedContact, ...]

    @property
    def name(self) -> AudienceName:
        """Whose contacts they are."""
        return self.ref.name


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactsRefusedAgain:
    """Contacts of the quarantine that were asked for by their ids and can still not be imported."""

    name: AudienceName
    contacts: tuple[RefusedContact, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactsSettled:
    """Contacts of the quarantine that are at the target now, whatever they were read for, or gone from Mailchimp."""

    name: AudienceName
    contact_ids: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class AudienceDone:
    """Nothing more comes of this audience in this run. The sums are those of its snapshot, over all runs that read of it."""

    name: AudienceName
    part: Part
    """Whether it was read by windows or by hours."""
    snapshot: Snapshot | None
    """None where hours were read, or not even the first page could be."""
    parts: int
    """Windows of its snapshot, as far as they are known; or hours asked for."""
    failed: tuple[str, ...]
    """Keys of the windows or hours that could not be imported, in order."""
    left: int
    """Windows or hours that are neither in nor failed: not asked for, or left when the audience was stopped."""
    is_whole: bool
    """Whether it is proved that no contact of the snapshot, or of the hours, is missing."""
    read: int
    """Contacts read; windows overlap, so a few are counted twice."""
    accepted: int
    """Contacts read that the target took."""
    refused: int
    """Different contacts that the target refused or that could not be sent."""
    requests: int
    """Requests to Mailchimp, failed ones included."""
    accepted_now: int
    """Contacts that the target took in this run."""
    refused_now: int
    """Different contacts that were refused in this run."""
    elapsed_seconds: float
    """From the first request of this run to its last outcome."""
    lacking: tuple[str, ...]
    """Mapped paths that not one of its contacts has."""
    error: ImporterError | None
    """What stopped it, or the error of the first window or hour that failed."""

    @property
    def complete(self) -> bool:
        """Whether every contact of the snapshot, or of the hours, has been delivered or is known as refused."""
        return self.error is None and self.is_whole

    @property
    def is_accounted_for(self) -> bool:
        """Whether every contact has been delivered or is in the quarantine, by itself or with its window or hour."""
        if self.part is Part.WINDOW and (self.snapshot is None or self.snapshot.archived_total is None):
            return False
        return self.complete or (self.left == 0 and isinstance(self.error, QuarantineWindow))

    @property
    def accepted_per_second(self) -> float:
        """How fast this run was."""
        return self.accepted_now / self.elapsed_seconds if self.elapsed_seconds else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a sync is."""

    contacts: int
    """Contacts to read, as far as is known."""
    accepted: int
    """Contacts that the targets have taken."""
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
