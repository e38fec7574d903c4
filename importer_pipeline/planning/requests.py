"""What can be requested for an audience, and what the resolver decides to read. Records, pure."""

from dataclasses import dataclass

from importer_pipeline.engine.audience_plan import Scope
from importer_pipeline.engine.outcomes import PartitionRef
from importer_pipeline.listing.coverage import TimeRange
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.planning.quarantine import Failure, RetryRule
from importer_pipeline.planning.resuming import ResumeRule


@dataclass(frozen=True, slots=True, kw_only=True)
class EntrySelection:
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
class WindowsRequest:
    """Windows of a snapshot."""

    wanted: frozenset[str] | None
    """Keys of single windows to import. None for all that are not in; without any, the windows are only counted."""
    rule: ResumeRule
    """Which snapshots are gone on with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HoursRequest:
    """Hours one behind the other, whatever is in of them."""

    hours: TimeRange
    """From the first second of the first to the last one of the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactsRequest:
    """Single contacts."""

    contact_ids: tuple[str, ...]
    """Mailchimp's `id` of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRequest:
    """What is in the quarantine of the audience."""

    wanted: EntrySelection
    """Which of it."""
    windows: WindowsRequest
    """How what only a whole snapshot can bring in is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangesRequest:
    """All hours from the end of the audience's chain on, and then what is due in the quarantine."""

    retry: RetryRequest
    """What is due."""
    newcomers: WindowsRequest | None
    """What is done instead, and last, where there is no chain; None to leave such audiences to others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstSyncRequest:
    """A snapshot, unless the audience has a chain already."""

    windows: WindowsRequest
    """What is done where it has none."""


Request = WindowsRequest | HoursRequest | ContactsRequest | RetryRequest | ChangesRequest | FirstSyncRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class AudienceRequest:
    """What is asked for of an audience as it is now."""

    name: AudienceName
    fingerprint: str
    """What the audience is now."""
    request: Request


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPlan:
    """What is to be read."""

    scope: Scope | None
    """What is to be read now; None for nothing."""
    later: tuple[Request, ...] = ()
    """What is to be asked for after that, one behind the other."""
    note: str = ""
    """What a person would like to know about it; "" where it goes without saying."""
    changes_form: bool = False
    """Whether contacts are sent for another fingerprint than the last ones: to be written down before the first is sent."""
