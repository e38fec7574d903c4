"""What a walk keeps in mind: its windows with their states, the stretches under way, and single pages. Pure.

What happens to them is in `walk`.
"""

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from enum import Enum

from importer_pipeline.errors import ImporterError, MemberUnreadable
from importer_pipeline.listing.coverage import CrowdedSecond, PageRequest, TimeRange, joined
from importer_pipeline.listing.snapshots import ImportedWindow


class WindowState(Enum):
    """How far a window is."""

    MISSING = "missing"
    """Not in, and not asked for, or left when the audience was stopped."""
    UNDER_WAY = "under way"
    """Asked for."""
    BY_TIME = "read by time"
    """A page of it leads nowhere: it is in once what lies between its neighbours has been read by time."""
    IMPORTED = "in"
    """All of its own pages have been delivered."""
    FAILED = "failed"
    """A page that is reported under it is given up."""


@dataclass(eq=False, slots=True)
class Window:
    """The contacts between an offset of the listing and the next window's, and what became of them."""

    offset: int
    """Its place in the listing when the snapshot was taken."""
    state: WindowState = WindowState.MISSING
    covered: list[TimeRange] = field(default_factory=list[TimeRange])
    """Seconds of which every contact has been delivered, in as few stretches as possible."""
    error: ImporterError | None = None
    """Why it could not be imported."""
    open_pages: int = 0
    """Its own pages that are neither delivered nor given up."""
    asked_at: float | None = None
    """When its first page was asked for, by the engine's clock."""
    elapsed_seconds: float = 0.0
    """From then to the last delivery."""
    requests: int = 0
    """Pages asked for under it, those that failed included."""
    read: int = 0
    """Contacts in its pages, those that gaps brought included."""
    accepted: int = 0
    """Contacts of them that the target took."""
    refused: int = 0
    """Contacts of them that went to the quarantine."""
    is_kept: bool = False
    """True if it was imported earlier and is not read again."""

    @classmethod
    def imported_earlier(cls, offset: int, imported: ImportedWindow) -> "Window":
        """One that was imported earlier."""
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
        """True if all of its own pages have been delivered, and no other that is reported under it has failed."""
        return self.state is WindowState.IMPORTED

    @property
    def imported(self) -> ImportedWindow:
        """What is kept of it."""
        return ImportedWindow(
            covered=tuple(self.covered),
            read=self.read,
            accepted=self.accepted,
            refused=self.refused,
            requests=self.requests,
        )

    def cover(self, stretches: Iterable[TimeRange]) -> None:
        """Every contact of these seconds has been delivered."""
        self.covered = joined([*self.covered, *stretches])

    def start_over(self) -> None:
        """It is read again: what is counted starts at zero, and what is proved stays proved."""
        self.requests = self.read = self.accepted = self.refused = 0
        self.is_kept = False


class Purpose(Enum):
    """What a span is read for."""

    WINDOWS = "its pages are windows"
    GAP = "its pages are reported under the window below"
    COUNT = "one page of it tells how many windows there are, and nothing of it is delivered"
    CONTACTS = "each page is one contact, asked for by its id"
    PROBE = "a page that can hold nobody: whether the account answers at all"


@dataclass(eq=False, slots=True)
class Span:
    """A stretch that is being read."""

    bounds: TimeRange
    """The seconds that have to be proved."""
    purpose: Purpose
    window: int
    """Offset of the window that its pages are reported under; where they are windows, of the one that stands at its start."""
    first_offset: int = 0
    """Offset, in its own listing, of the page that is asked for first."""
    waiting: list[int] = field(default_factory=list[int])
    """Offsets of the windows that are asked for once that page has told how many contacts there are."""
    crowd: CrowdedSecond | None = None
    """The count of its contacts, where it is a gap of a single second."""
    covered: list[TimeRange] = field(default_factory=list[TimeRange])
    """What its delivered pages proved."""
    open_pages: int = 0
    """Pages asked for and neither delivered nor given up."""
    planned: bool = False
    """True if the answer of its first page has told how many there are."""
    total: int = 0
    """Contacts in it, as the latest answer said."""
    round: int = 1
    """How often its pages have been asked for."""
    failed: bool = False
    """True if one of its pages is given up."""
    trouble: ImporterError | None = None
    """Why one of its pages is left to be read in parts, or proves nothing."""
    holes: list[ImporterError] = field(default_factory=list[ImporterError])
    """Why single contacts of it could not be read in this round."""
    spoiled: ImporterError | None = None
    """Why a page of some round of it could not be read."""

    @property
    def named_holes(self) -> set[str]:
        """Ids of contacts that could not be read in this round and were not in any before, where the answers name them."""
        named = (hole.contact_id for hole in self.holes if isinstance(hole, MemberUnreadable))
        return set() if self.crowd is None else self.crowd.new(named) - {""}

    def has_found_unreadable(self, unseen: int) -> bool:
        """Return whether contacts that no page has shown are those that could not be read, each alone.

        Where an order changes at each request, a place is no contact: the same one may have been met twice.
        """
        if len(self.named_holes) >= unseen:
            return bool(self.holes)
        keeps_order = self.crowd is not None and self.crowd.keeps_order
        return len(self.holes) >= unseen and (self.total == 1 or (self.round > 1 and keeps_order))


@dataclass(frozen=True, eq=False, slots=True)
class Reading:
    """One page to read, and what it is for."""

    ask: PageRequest
    """The page."""
    window: int
    """Offset of the window that it is reported under."""
    span: Span
    """The stretch that it is a page of."""
    is_suspect: bool = False
    """True if it is a part of what has failed again and again: it is not tried as often."""

    @property
    def only_counts(self) -> bool:
        """True if nothing of it is to be delivered."""
        return self.span.purpose in (Purpose.COUNT, Purpose.PROBE)

    @property
    def is_probe(self) -> bool:
        """True if it asks for nobody, so that no contact can spoil its answer."""
        return self.span.purpose is Purpose.PROBE


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Contacts of one second that Mailchimp has and can't send; all others of it have been delivered."""

    window: int
    """Offset of the window that they are reported under."""
    second: int
    """When they changed last."""
    contact_ids: tuple[str, ...]
    """Mailchimp's `id` of each, "" where it is not known."""
    reason: str
    """What was seen, and what to do."""


@dataclass(frozen=True, slots=True)
class Section:
    """What lies between neighbouring windows that are in, and the windows there that are to be read."""

    bounds: TimeRange
    """Its seconds; last before first where the neighbours leave nothing."""
    start: int
    """Offset of the window that would stand at its start."""
    wanted: list[int]
    """Offsets of the windows to read, in order; at least one."""


def sections(windows: Mapping[int, Window], wanted: Set[int], *, bounds: TimeRange, step: int) -> Iterator[Section]:
    """Where the wanted windows that are not in lie.

    Args:
        windows: all windows of the walk, by offset.
        wanted: offsets of those to read.
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


def left_alone(windows: Mapping[int, Window], *, bounds: TimeRange) -> list[TimeRange]:
    """Return what lies between the nearest windows that are in around each that is not."""
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
    """Offset of the window that what is read in a gap is reported under."""
    below = [
        (window.covered[-1].last, window.offset)
        for window in windows.values()
        if window.is_imported and window.covered and window.covered[0].first <= gap.first
    ]
    return max(below)[1] if below else 0
