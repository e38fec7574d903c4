"""A snapshot of an audience, and its imported windows: records. Pure.

Stays out: reading windows (see `walk`), and whether a snapshot is resumed (see `planning.resuming`).
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from importer_pipeline.listing.coverage import Paging, TimeRange, window_offsets

SNAPSHOT_FORMAT = 1
"""Format of recorded snapshots and windows; snapshots of another format are not resumed."""

_KEY = re.compile(r"(archived-)?(0|[1-9][0-9]*)")


def window_key(offset: int, *, archived: bool) -> str:
    """Return the partition key of a window: `990`, or `archived-990` in the walk of the archived contacts."""
    return f"archived-{offset}" if archived else str(offset)


def parse_window_key(key: str) -> tuple[bool, int] | None:
    """Return whether a window's key is in the walk of the archived contacts, and its offset; None for other keys."""
    match = _KEY.fullmatch(key)
    return None if match is None else (match[1] is not None, int(match[2]))


@dataclass(frozen=True, slots=True, order=True)
class AudienceName:
    """An audience and its client, by the names in the clients file."""

    client: str
    audience: str

    def __str__(self) -> str:
        return f"{self.client}/{self.audience}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """An audience frozen at a moment: the contacts with `since < last_changed <= before`."""

    id: str
    """Identifies it among the audience's snapshots."""
    fingerprint: str
    """Fingerprint of the list, target and mapping that it is for (see `client.fingerprint`)."""
    since: int
    """Epoch seconds, exclusive; `coverage.BEGINNING` for all."""
    before: int
    """Epoch seconds, inclusive: a minute before it was taken, by Mailchimp's own clock."""
    total: int
    """Contacts that are not archived."""
    archived_total: int | None
    """Archived contacts; None until Mailchimp has reported them."""
    page_size: int
    """Contacts of a page."""
    overlap: int
    """Contacts that neighbouring windows share."""

    @property
    def keys(self) -> list[str]:
        """The keys of its windows, in order, archived ones last."""
        paging = Paging(page_size=self.page_size, overlap=self.overlap)
        archived = () if self.archived_total is None else window_offsets(self.archived_total, paging)
        return [
            *(window_key(offset, archived=False) for offset in window_offsets(self.total, paging)),
            *(window_key(offset, archived=True) for offset in archived),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedWindow:
    """A window whose contacts are all at the target, or recorded as refused."""

    covered: tuple[TimeRange, ...]
    """The seconds whose contacts have all been delivered."""
    read: int
    """Contacts read under it."""
    accepted: int
    """Contacts that the target accepted."""
    refused: int
    """Contacts that went to the quarantine."""
    requests: int
    """Requests to Mailchimp that it took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotProgress:
    """The progress of a snapshot: its imported windows."""

    snapshot: Snapshot
    windows: Mapping[str, ImportedWindow]
    """The imported windows, by key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latest:
    """The newest snapshot of an audience."""

    snapshot: Snapshot
    completed: bool
    """True if all of it has been imported."""
    written: float = field(default=math.inf, compare=False)
    """Time of its latest record, in epoch seconds by our clock; infinite if unknown."""
