"""What the engine has to know of an audience, and what to read of it. Records, pure.

A sync reads all contacts by windows of a snapshot, or the changes of some hours. The two differ in their upper time
bound and in their outcomes, not in how they are read.
"""

from dataclasses import dataclass

from importer_pipeline.listing.coverage import BEGINNING, TimeRange
from importer_pipeline.listing.hours import LOOK_BACK_SECONDS, SETTLED_SECONDS, last_second_over
from importer_pipeline.listing.snapshots import AudienceName, Snapshot, SnapshotProgress

SNAPSHOT_AGE_SECONDS = 60
"""Age of a snapshot's `before` by Mailchimp's clock, so that contacts committed a little late are in it."""

SNAPSHOT_SLACK_SECONDS = 60
"""Seconds that it may be older than that before it is taken again."""

_CLOCKS_APART_SECONDS = 5
"""Seconds that two correct clocks may differ: an older guess by that much is seldom wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotScope:
    """All contacts, by windows of a snapshot."""

    earlier: SnapshotProgress | None
    """The snapshot to resume; None for a new one."""
    wanted: frozenset[str] | None
    """Keys of the windows to read, even if imported; None for all missing ones; empty to count the windows only."""
    last: Snapshot | None = None
    """The newest snapshot of the same list before, for its size: a new one that is far smaller is doubted."""

    @property
    def since(self) -> int:
        """Lower time bound of the contacts to read, exclusive."""
        return BEGINNING

    def guess_upper_bound(self, server_now: int) -> int:
        """Return the upper time bound to request before Mailchimp's clock is known."""
        return self.upper_bound(server_now - _CLOCKS_APART_SECONDS)

    def upper_bound(self, server_time: int) -> int:
        """Return the right upper time bound at a moment of Mailchimp's clock."""
        return server_time - SNAPSHOT_AGE_SECONDS

    def accepts_upper_bound(self, before: int, server_time: int, *, is_second_try: bool) -> bool:
        """Return whether a guessed upper bound was good enough."""
        age = server_time - before
        return age >= SNAPSHOT_AGE_SECONDS and (is_second_try or age <= SNAPSHOT_AGE_SECONDS + SNAPSHOT_SLACK_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class HoursScope:
    """The contacts that changed in some consecutive hours."""

    first: int
    """The first second to prove. What changed a little earlier is read as well: see `hours.LOOK_BACK_SECONDS`."""
    last: int | None
    """The last second to prove; None for that of the newest hour that is over."""
    chain_from: str | None
    """ID of the snapshot that begins the chain to continue; None to import the hours by themselves."""
    known: frozenset[TimeRange]
    """Hours among them that are already imported, and need not be reported again."""

    @property
    def since(self) -> int:
        """Lower time bound of the contacts to read, exclusive."""
        return max(BEGINNING, self.first - 1 - LOOK_BACK_SECONDS)

    def guess_upper_bound(self, server_now: int) -> int:
        """Return the upper time bound to request before Mailchimp's clock is known.

        At least one second is requested: only Mailchimp's clock can say that no hour is over yet.
        """
        return max(self.first, self.upper_bound(server_now))

    def upper_bound(self, server_time: int) -> int:
        """Return the right upper time bound at a moment of Mailchimp's clock."""
        over = last_second_over(server_time)
        return over if self.last is None else min(over, self.last)

    def accepts_upper_bound(self, before: int, server_time: int, *, is_second_try: bool) -> bool:
        """Return whether a guessed upper bound was good enough."""
        return server_time - before >= SETTLED_SECONDS and (is_second_try or before == self.upper_bound(server_time))


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactsScope:
    """Single contacts, by their IDs."""

    contact_ids: tuple[str, ...]
    """Mailchimp's `id` of each, whatever its state."""


Scope = SnapshotScope | HoursScope | ContactsScope


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRules:
    """What a target allows, as declared; the defaults declare nothing."""

    account: str | None = None
    """Name of the account at the target, if clients share it, and so its limits; None: it is the client's own."""
    batch_records: int | None = None
    """Maximum number of records per post; None for whole pages."""
    posts_at_once: int | None = None
    """Maximum number of posts in flight for the account; None for that of all targets."""
    posts_per_second: float | None = None
    """Maximum rate of posts of the account in this process; None for any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AudiencePlan:
    """An audience to sync."""

    name: AudienceName
    account: str
    """Name of the Mailchimp account, which several clients may share."""
    account_connections: int
    """Connections that may be used at once for that account."""
    target: str
    """URL of the target, which several clients may share."""
    fingerprint: str
    """Hash of list, target and mapping (see `client.fingerprint`)."""
    scope: Scope
    """What to read of it."""
    quarantined: frozenset[str]
    """IDs of its quarantined contacts: the sync reports which of them are settled."""
    target_rules: TargetRules = TargetRules()
    """What its target allows."""
