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
    """A selection of quarantine entries to retry."""

    refs: frozenset[PartitionRef] | None
    """Single entries; None for all."""
    rule: RetryRule | None
    """Retry only what is due by this rule; None for all."""

    def has(self, ref: PartitionRef, trouble: Failure, *, now: float) -> bool:
        """Return whether a failure of an entry is to be retried."""
        is_named = self.refs is None or ref in self.refs
        return is_named and (self.rule is None or self.rule.is_due(trouble, now=now))


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowsRequest:
    """Windows of a snapshot."""

    wanted: frozenset[str] | None
    """Keys of single windows to import; None for all missing ones; empty to count the windows only."""
    rule: ResumeRule
    """The rule for resuming a snapshot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HoursRequest:
    """Consecutive hours, even if they are already imported."""

    hours: TimeRange
    """From the first second of the first hour to the last second of the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactsRequest:
    """Single contacts."""

    contact_ids: tuple[str, ...]
    """Mailchimp's `id` of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRequest:
    """The quarantine entries of the audience."""

    wanted: EntrySelection
    """The entries to retry."""
    windows: WindowsRequest
    """The request to make where only a whole snapshot can import the contacts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangesRequest:
    """All hours after the end of the audience's chain, and then the quarantine entries that are due."""

    retry: RetryRequest
    """The retry that follows."""
    newcomers: WindowsRequest | None
    """The request to make instead, and last, without a chain; None to leave such audiences alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstSyncRequest:
    """A snapshot, unless the audience has a chain already."""

    windows: WindowsRequest
    """The request to make if it has none."""


Request = WindowsRequest | HoursRequest | ContactsRequest | RetryRequest | ChangesRequest | FirstSyncRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class AudienceRequest:
    """A request for one audience."""

    name: AudienceName
    fingerprint: str
    """Its current fingerprint."""
    request: Request


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPlan:
    """The decision for a request."""

    scope: Scope | None
    """The scope to read now; None for nothing."""
    later: tuple[Request, ...] = ()
    """The requests to make after that, in order."""
    note: str = ""
    """A note for the log; "" if there is nothing to say."""
    changes_form: bool = False
    """True if contacts are sent with another fingerprint than before: recorded before the first is sent."""
