"""The state of a walk: its windows, the time ranges that are being read, and single pages. Pure.

Stays out: the changes of this state (see `walk`).
"""

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from enum import Enum

from importer_pipeline.errors import ImporterError, MemberUnreadable
from importer_pipeline.listing.coverage import ContactRequest, PageRequest, TimeRange, joined
from importer_pipeline.listing.crowded_second import CrowdedSecond
from importer_pipeline.listing.snapshots import ImportedWindow


class WindowState(Enum):
    """The state of a window."""

    MISSING = "missing"
    """Not imported and not requested, or dropped when the audience was stopped."""
    UNDER_WAY = "under way"
    """Requested."""
    BY_TIME = "read by time"
    """A page of it can't be read: it is imported once the gap between its neighbours has been read by time."""
    IMPORTED = "in"
    """All of its own pages have been delivered."""
    FAILED = "failed"
    """A page that is reported under it has been abandoned."""


@dataclass(eq=False, slots=True)
class Window:
    """The contacts between an offset of the listing and the next window's offset, and their progress."""

    offset: int
    """Its position in the listing when the snapshot was taken."""
    state: WindowState = WindowState.MISSING
    covered: list[TimeRange] = field(default_factory=list[TimeRange])
    """Seconds whose contacts have all been delivered, in as few time ranges as possible."""
    error: ImporterError | None = None
    """The reason why it could not be imported."""
    open_pages: int = 0
    """Its own pages that are neither delivered nor abandoned."""
    requested_at: float | None = None
    """Time of the request for its first page, by the engine's clock."""
    elapsed_seconds: float = 0.0
    """Time from then to the last delivery."""
    requests: int = 0
    """Pages requested under it, including failed ones."""
    read: int = 0
    """Contacts in its pages, including those of gaps."""
    accepted: int = 0
    """Contacts of them that the target accepted."""
    refused: int = 0
    """Contacts of them that went to the quarantine."""
    is_kept: bool = False
    """True if it was imported earlier, and is not read again."""

    @classmethod
    def imported_earlier(cls, offset: int, imported: ImportedWindow) -> "Window":
        """Create a window that was imported earlier."""
        return cls(
            offset,
            WindowState.IMPORTED,
            covered=list(imported.covered),
            requests=imported.requests,
            read=imported.read,
            accepted=imported.accepted,
            refused=imported.refused,
            is_kept=True,
        )

    @property
    def is_imported(self) -> bool:
        """True if all of its own pages have been delivered, and no page reported under it has failed."""
        return self.state is WindowState.IMPORTED

    @property
    def imported(self) -> ImportedWindow:
        """The record of it to keep."""
        return ImportedWindow(
            covered=tuple(self.covered),
            read=self.read,
            accepted=self.accepted,
            refused=self.refused,
            requests=self.requests,
        )

    def cover(self, time_ranges: Iterable[TimeRange]) -> None:
        """Record that every contact of these seconds has been delivered."""
        self.covered = joined([*self.covered, *time_ranges])

    def start_over(self) -> None:
        """Prepare to read it again: its counts start at zero, and proved seconds stay proved."""
        self.requests = self.read = self.accepted = self.refused = 0
        self.is_kept = False


class Purpose(Enum):
    """The purpose of reading a span."""

    WINDOWS = "its pages are windows"
    GAP = "its pages are reported under the window below"
    COUNT = "one page of it tells how many windows there are, and nothing of it is delivered"
    CONTACTS = "each page is one contact, asked for by its id"
    PROBE = "a page that can hold nobody: whether the account answers at all"


@dataclass(eq=False, slots=True)
class Span:
    """A time range that is being read."""

    bounds: TimeRange
    """The seconds to prove."""
    purpose: Purpose
    window: int
    """Offset of the window that its pages are reported under; if they are windows, of the one at its start."""
    first_offset: int = 0
    """Offset, in its own listing, of the page to request first."""
    waiting: list[int] = field(default_factory=list[int])
    """Offsets of the windows to request once that page has shown the number of contacts."""
    crowd: CrowdedSecond | None = None
    """Its contacts, if it is a gap of a single second."""
    covered: list[TimeRange] = field(default_factory=list[TimeRange])
    """Seconds that its delivered pages have proved."""
    open_pages: int = 0
    """Pages requested and neither delivered nor abandoned."""
    planned: bool = False
    """True if its first page has shown how many pages there are."""
    total: int = 0
    """Contacts in it, by the latest answer."""
    round: int = 1
    """Number of the current round of requests for its pages."""
    failed: bool = False
    """True if one of its pages has been abandoned."""
    error: ImporterError | None = None
    """The reason why one of its pages is to be read in parts, or proves nothing."""
    unreadable: list[ImporterError] = field(default_factory=list[ImporterError])
    """The reasons why single contacts of it could not be read in this round."""
    split_error: ImporterError | None = None
    """The latest error for which a page of it was read in halves or left out."""

    @property
    def unreadable_ids(self) -> set[str]:
        """Ids of contacts that could not be read in this round and were in no page before, if the answers name them."""
        named = (error.contact_id for error in self.unreadable if isinstance(error, MemberUnreadable))
        return set() if self.crowd is None else self.crowd.new(named) - {""}

    def has_found_unreadable(self, unseen: int) -> bool:
        """Return whether the contacts that no page has shown are those that could not be read alone.

        If the order changes at each request, an offset does not identify a contact: the same one may fail twice.
        """
        if len(self.unreadable_ids) >= unseen:
            return bool(self.unreadable)
        keeps_order = self.crowd is not None and self.crowd.keeps_order
        return len(self.unreadable) >= unseen and (self.total == 1 or (self.round > 1 and keeps_order))


@dataclass(frozen=True, eq=False, slots=True)
class Reading:
    """A page to read, and its purpose."""

    request: PageRequest | ContactRequest
    """The request."""
    window: int
    """Offset of the window that it is reported under."""
    span: Span
    """The span that it is a page of."""
    is_suspect: bool = False
    """True if it is a part of a page that kept failing: it gets fewer retries."""

    @property
    def only_counts(self) -> bool:
        """True if none of its contacts is to be delivered."""
        return self.span.purpose in (Purpose.COUNT, Purpose.PROBE)

    @property
    def is_probe(self) -> bool:
        """True if it requests no contact, so that none can spoil its answer."""
        return self.span.purpose is Purpose.PROBE

    def starts_from(self, offset: int) -> bool:
        """Return whether it is a page that starts at this offset of its listing, or later."""
        match self.request:
            case PageRequest():
                return self.request.offset >= offset
            case ContactRequest():
                return False


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Contacts of one second that Mailchimp has but can't send; all others of it have been delivered."""

    window: int
    """Offset of the window that they are reported under."""
    second: int
    """The second of their last change."""
    contact_ids: tuple[str, ...]
    """Mailchimp's `id` of each, "" if unknown."""
    reason: str
    """The problem and the remedy."""


@dataclass(frozen=True, slots=True)
class Section:
    """The seconds between neighbouring imported windows, and the windows to read there."""

    bounds: TimeRange
    """Its seconds; last is before first if the neighbours leave no gap."""
    start: int
    """Offset of the window that would be at its start."""
    wanted: list[int]
    """Offsets of the windows to read, in order; at least one."""


def sections(windows: Mapping[int, Window], wanted: Set[int], *, bounds: TimeRange, step: int) -> Iterator[Section]:
    """Yield the sections that contain the wanted windows that are not imported.

    Args:
        windows: all windows of the walk, by offset.
        wanted: offsets of the windows to read.
        bounds: the seconds of the walk.
        step: contacts from one window to the next.
    """
    first, start, offsets = bounds.first, 0, list[int]()
    for offset in sorted(windows):
        window = windows[offset]
        if window.is_imported and window.covered:
            if offsets:
                yield Section(TimeRange(first, window.covered[0].first - 1), start, offsets)
            first, start, offsets = window.covered[-1].last + 1, offset + step, []
        elif not window.is_imported and offset in wanted:
            offsets.append(offset)
    if offsets:
        yield Section(TimeRange(first, bounds.last), start, offsets)


def reserved_ranges(windows: Mapping[int, Window], *, bounds: TimeRange) -> list[TimeRange]:
    """Return the seconds around each window that is not imported, between its nearest imported neighbours."""
    result: list[TimeRange] = []
    first, is_out = bounds.first, False
    for window in (windows[offset] for offset in sorted(windows)):
        if not window.is_imported and window.state is not WindowState.BY_TIME:
            is_out = True
        elif window.covered:
            if is_out and first < window.covered[0].first:
                result.append(TimeRange(first, window.covered[0].first - 1))
            first, is_out = window.covered[-1].last + 1, False
    if is_out and first <= bounds.last:
        result.append(TimeRange(first, bounds.last))
    return result


def window_below(windows: Mapping[int, Window], gap: TimeRange) -> int:
    """Return the offset of the window under which a gap is reported."""
    below = [
        (window.covered[-1].last, window.offset)
        for window in windows.values()
        if window.is_imported and window.covered and window.covered[0].first <= gap.first
    ]
    return max(below)[1] if below else 0
