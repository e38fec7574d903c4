"""What a sync tells while it goes: snapshots, windows that are in or failed, audiences that are done. Records only."""

from dataclasses import dataclass

from importer_pipeline.errors import ImporterError
from importer_pipeline.snapshots import AudienceName, ImportedWindow, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedContact:
    """A contact that can't be imported for now."""

    contact_id: str
    """Mailchimp's `id`; "" where it has none."""
    reason: str
    """What refused it and what to do, without personal data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotKnown:
    """The snapshot that is read: told before its first window, and again when Mailchimp has told more of it."""

    name: AudienceName
    snapshot: Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowIn:
    """All contacts of a window are at the target or in the quarantine. Told again when a window below a gap grows."""

    name: AudienceName
    snapshot_id: str
    window: str
    """Its key: see `snapshots.window_key`."""
    imported: ImportedWindow
    """What is kept of it."""
    elapsed_seconds: float
    """From its first request to its last delivery."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowFailed:
    """A window could not be imported."""

    name: AudienceName
    window: str
    error: ImporterError


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactsRefused:
    """Contacts of a window that can't be imported for now; the window counts as in."""

    name: AudienceName
    window: str
    contacts: tuple[RefusedContact, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AudienceDone:
    """Nothing more comes of this audience in this run. The sums are those of its snapshot, over all runs that read of it."""

    name: AudienceName
    snapshot: Snapshot | None
    """None where not even the first page could be read."""
    windows: int
    """Windows of its snapshot, as far as they are known."""
    failed: tuple[str, ...]
    """Keys of the windows that could not be imported, in order."""
    left: int
    """Windows that are neither in nor failed: not asked for, or left when the audience was stopped."""
    is_whole: bool
    """Whether it is proved that no contact of the snapshot is missing."""
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
    """What stopped it, or the first failed window's error."""

    @property
    def complete(self) -> bool:
        """Whether every contact of the snapshot has been delivered or is known as refused."""
        return self.error is None and self.is_whole

    @property
    def accepted_per_second(self) -> float:
        """How fast this run was."""
        return self.accepted_now / self.elapsed_seconds if self.elapsed_seconds else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a sync is."""

    contacts: int
    """Contacts of the snapshots taken so far."""
    accepted: int
    """Contacts that the targets have taken."""
    audiences: int
    """Audiences in all."""
    open_audiences: int
    """Audiences that are not done."""


Outcome = SnapshotKnown | WindowIn | WindowFailed | ContactsRefused | AudienceDone
