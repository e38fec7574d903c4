"""What a sync tells while it goes: windows that are in or failed, audiences that are done. Records, nothing else."""

from dataclasses import dataclass

from importer_pipeline.errors import ImporterError
from importer_pipeline.windows import Stretch


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedContact:
    """A contact that can't be imported for now."""

    contact_id: str
    """Mailchimp's `id`; "" where it has none."""
    reason: str
    """What refused it and what to do, without personal data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """An audience frozen at a moment: the contacts with `since < last_changed <= before`."""

    since: int
    """Epoch seconds, exclusive; `windows.BEGINNING` for all."""
    before: int
    """Epoch seconds, inclusive: a minute before it was taken, by Mailchimp's own clock."""
    total: int
    """Contacts that are not archived."""
    archived_total: int
    """Archived contacts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowIn:
    """All contacts of a window are at the target or in the quarantine. Told again when a window below a gap grows."""

    client: str
    audience: str
    window: str
    """Its key: see `windows.window_key`."""
    covered: tuple[Stretch, ...]
    """The seconds of which every contact has been delivered."""
    read: int
    """Contacts read under it."""
    accepted: int
    """Contacts that the target took."""
    refused: int
    """Contacts that went to the quarantine."""
    requests: int
    """Requests to Mailchimp that it took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowFailed:
    """A window could not be imported."""

    client: str
    audience: str
    window: str
    error: ImporterError


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactsRefused:
    """Contacts of a window that can't be imported for now; the window counts as in."""

    client: str
    audience: str
    window: str
    contacts: tuple[RefusedContact, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AudienceDone:
    """Nothing more comes of this audience in this run."""

    client: str
    audience: str
    snapshot: Snapshot | None
    """None where not even the first page could be read."""
    windows: int
    """Windows of its snapshot, as far as they are known."""
    failed: tuple[str, ...]
    """Keys of the windows that could not be imported, in order."""
    read: int
    """Contacts read; windows overlap, so a few are counted twice."""
    accepted: int
    """Contacts read that the target took."""
    refused: int
    """Different contacts that the target refused or that could not be sent."""
    requests: int
    """Requests to Mailchimp, failed ones included."""
    elapsed_seconds: float
    """From the first request to the last outcome."""
    lacking: tuple[str, ...]
    """Mapped paths that not one of its contacts has."""
    error: ImporterError | None
    """Why it is not all in: what stopped it, or the first window's error."""

    @property
    def complete(self) -> bool:
        """Whether every contact of the snapshot has been delivered or is known as refused."""
        return self.error is None and self.snapshot is not None


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


Outcome = WindowIn | WindowFailed | ContactsRefused | AudienceDone
