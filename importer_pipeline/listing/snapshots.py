"""An audience frozen at a moment, and what is in of it. Records. Pure.

How windows are read is in `walk`, and when a snapshot is gone on with in `resuming`.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from importer_pipeline.listing.coverage import Paging, TimeRange, window_offsets

SNAPSHOT_FORMAT = 1
"""Of the snapshots and windows that are kept; another one is not gone on with."""

_KEY = re.compile(r"(archived-)?(0|[1-9][0-9]*)")


def window_key(offset: int, *, archived: bool) -> str:
    """Return the partition key of a window: `990`, or `archived-990` in the walk of the archived contacts."""
    return f"archived-{offset}" if archived else str(offset)


def parse_window_key(key: str) -> tuple[bool, int] | None:
    """Return whether a key is of the walk of the archived contacts, and its offset; None if it is no window's key."""
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
    """Tells it from the audience's other snapshots."""
    fingerprint: str
    """What it was taken of and for: list, target, mapping (see `client.fingerprint`)."""
    since: int
    """Epoch seconds, exclusive; `windows.BEGINNING` for all."""
    before: int
    """Epoch seconds, inclusive: a minute before it was taken, by Mailchimp's own clock."""
    total: int
    """Contacts that are not archived."""
    archived_total: int | None
    """Archived contacts; None as long as Mailchimp has not told."""
    page_size: int
    """Contacts of a page."""
    overlap: int
    """Contacts that neighbouring windows share."""

    @property
    def keys(self) -> list[str]:
        """The keys of its windows, in order: those of the archived last."""
        paging = Paging(page_size=self.page_size, overlap=self.overlap)
        archived = () if self.archived_total is None else window_offsets(self.archived_total, paging)
        return [
            *(window_key(offset, archived=False) for offset in window_offsets(self.total, paging)),
            *(window_key(offset, archived=True) for offset in archived),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedWindow:
    """A window of which every contact is at the target or known as refused."""

    covered: tuple[TimeRange, ...]
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
class SnapshotProgress:
    """How far a snapshot is."""

    snapshot: Snapshot
    windows: Mapping[str, ImportedWindow]
    """What is in, by key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latest:
    """The newest snapshot of an audience."""

    snapshot: Snapshot
    completed: bool
    """True if all of it has been brought in."""
    written: float = field(default=math.inf, compare=False)
    """When it was last said what it is, in epoch seconds by our clock; infinite where nobody knows."""
