"""The proof that a page of a sorted listing gives, and what is still missing. Pure.

An audience is read by offset while contacts leave the listing: a contact that changes gets a new `last_changed`, drops
out of `since < last_changed <= before`, and all contacts after it move up one place. So a position proves nothing. But
the `last_changed` of an unchanged contact stays the same. So progress is measured in time, and offsets are only a guess
at where to look.

**What a page proves.** A page is a contiguous cut of a sorted list at one moment, from its offset on. A contact that
sorts strictly between two members of the cut is in the cut, so the page has *every* contact of each second strictly
between its first and its last: it covers `[first + 1, last - 1]`. It covers from `since + 1` on if its offset is 0, and
up to `before` if it reaches the end (`length < count` and `offset + length >= total`). A page beyond the end covers
nothing; an empty list covers everything.

**Why nothing is lost.** Take an unchanged contact at second t of `(since, before]`. When no second is missing, t lies
in a covered time range, which a page proved at a moment when the contact was in the listing; so the contact was in that
page. It does not matter what moved before or after, in which order the answers came, what was retried, or in which
order the contacts of one second were sent. `last_changed` has a resolution of one second (V), and the order within a
second is unknown: therefore a page does not cover its own first and last second.

**A crowded second.** A second that fills a page can't be covered by pages around it, so it is requested alone. If it
fits into one page, that page proves it. If not, its pages are read repeatedly (see `crowded_second`).

Windows start `step` contacts apart and request a page each. So neighbours overlap, and an undisturbed walk leaves no
gap. Gaps that remain are read by time: see `importer_pipeline.listing.walk`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import le

from importer_pipeline.errors import BrokenAnswer

BEGINNING = -1
"""`since` of a walk that has no lower bound."""

MAX_CONTACTS = 10_000_000
"""Maximum total that is believed: ten times the largest listing known to us."""

SLICES = 8
"""Parts that an unreadable time range is cut into: each further cut takes another round of requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paging:
    """Parameters that cut a listing into windows."""

    page_size: int = 1000
    """Contacts per page; Mailchimp silently reduces more than 1000 (D)."""
    overlap: int = 10
    """Contacts that neighbouring windows share, so that contacts that leave in between open no gap. At least 2, because
    neither window covers the second of a contact that is the last of one and the first of the other."""
    rounds: int = 50
    """Maximum number of times that the pages of a crowded second are read."""
    slices: int = 200
    """Time ranges that may be read for one window to isolate what can't be read in it."""
    max_unreadable: int = 10
    """Contacts of one second that may be skipped because they can't be read."""

    @property
    def step(self) -> int:
        """Contacts from the start of a window to the start of the next."""
        return self.page_size - self.overlap


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """A request for one page: `since < last_changed <= before`, sorted by `last_changed`, from `offset` on."""

    since: int
    """Epoch seconds, exclusive; `BEGINNING` for no bound."""
    before: int
    """Epoch seconds, inclusive."""
    offset: int
    """Contacts of the listing to skip."""
    count: int
    """Contacts requested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactRequest:
    """A request for one contact by its id, whenever it changed."""

    contact_id: str
    """Mailchimp's `id`."""


@dataclass(frozen=True, slots=True, order=True)
class TimeRange:
    """Whole seconds from `first` to `last`, both included."""

    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PageShape:
    """The shape of a page, and of the listing that it was cut from."""

    length: int
    """Contacts in the page."""
    first: int
    """Second of its first contact; 0 if it is empty."""
    last: int
    """Second of its last contact; 0 if it is empty."""
    total: int
    """Contacts in the listing at that moment (`total_items`)."""
    is_short: bool = False
    """True if it has fewer contacts than its own total implies. Then it is no contiguous cut, and proves nothing."""


def seconds(stamp: str) -> int:
    """Convert a timestamp of Mailchimp, which is UTC, to epoch seconds; an unknown one is `""` (D) and sorts first.

    Raises:
        BrokenAnswer: it is not a timestamp with the offset of UTC.
    """
    if not stamp:
        return 0
    try:
        moment = datetime.fromisoformat(stamp)
    except ValueError:
        raise BrokenAnswer("expected ISO 8601 in last_changed, found something else") from None
    offset = moment.utcoffset()
    if offset is None or offset.total_seconds() != 0:
        raise BrokenAnswer("expected last_changed in UTC (+00:00), found another offset or none")
    return int(moment.timestamp())


def timestamp(second: int) -> str:
    """Return the second as Mailchimp writes it, in UTC: other offsets were ignored silently (U)."""
    return datetime.fromtimestamp(second, UTC).isoformat()


def page_shape(request: PageRequest, stamps: Sequence[str], total: int) -> PageShape:
    """Check that a page can be the answer to `request`, and return its shape.

    Args:
        request: the request.
        stamps: `last_changed` of each contact, in the order of the answer.
        total: `total_items` of the answer.

    Raises:
        BrokenAnswer: unsorted, outside its bounds, longer than requested, or of a listing that is too large to exist. A
            filter or an order that the server ignored would void the proof.
    """
    length = len(stamps)
    expected = max(0, min(request.count, total - request.offset))
    if total > MAX_CONTACTS:
        raise BrokenAnswer(f"expected a listing of up to {MAX_CONTACTS} contacts, found one that claims more")
    if length > request.count:
        raise BrokenAnswer(
            f"expected {expected} to {request.count} contacts at offset {request.offset} of {total}, found {length}"
        )
    is_short = length < expected
    if not stamps:
        return PageShape(length=0, first=0, last=0, total=total, is_short=is_short)
    # ISO 8601 of one offset sorts as text; another offset among them is found by parsing or is out of order.
    if not all(map(le, stamps, stamps[1:])):
        raise BrokenAnswer("expected contacts sorted by last_changed, found them unsorted")
    first, last = seconds(stamps[0]), seconds(stamps[-1])
    if first <= request.since or last > request.before:
        raise BrokenAnswer(
            f"expected last_changed after {_readable(request.since)} and up to {_readable(request.before)}, "
            f"found {_readable(first)} to {_readable(last)}"
        )
    return PageShape(length=length, first=first, last=last, total=total, is_short=is_short)


def covered(request: PageRequest, shape: PageShape) -> TimeRange | None:
    """Return the seconds that the page covers; None if there are none."""
    if shape.is_short:
        return None
    reaches_end = shape.length < request.count and request.offset + shape.length >= shape.total
    if shape.length == 0:
        return TimeRange(request.since + 1, request.before) if request.offset == 0 and shape.total == 0 else None
    first = request.since + 1 if request.offset == 0 else shape.first + 1
    last = request.before if reaches_end else shape.last - 1
    return TimeRange(first, last) if first <= last else None


def window_offsets(total: int, paging: Paging) -> range:
    """Return the offsets of the windows of a listing of `total` contacts; at least that of the first."""
    return range(0, max(total, 1), paging.step)


def halves(request: PageRequest, *, overlap: int) -> tuple[PageRequest, PageRequest] | None:
    """Split a request into two for overlapping pages; None if it is too small for that."""
    if request.count < max(2, 3 * overlap):
        return None
    half = (request.count + overlap + 1) // 2
    start = request.offset + half - overlap
    return (
        PageRequest(since=request.since, before=request.before, offset=request.offset, count=half),
        PageRequest(
            since=request.since, before=request.before, offset=start, count=request.offset + request.count - start
        ),
    )


def joined(ranges: Iterable[TimeRange]) -> list[TimeRange]:
    """Return the same seconds in as few time ranges as possible, in order."""
    result: list[TimeRange] = []
    for time_range in sorted(ranges):
        if result and time_range.first <= result[-1].last + 1:
            result[-1] = TimeRange(result[-1].first, max(result[-1].last, time_range.last))
        else:
            result.append(time_range)
    return result


def missing(bounds: TimeRange, known: Iterable[TimeRange]) -> list[TimeRange]:
    """Return the seconds of `bounds` that lie in none of the `known` time ranges, in order."""
    result: list[TimeRange] = []
    start = bounds.first
    for time_range in joined(known):
        if time_range.first > start:
            result.append(TimeRange(start, min(time_range.first - 1, bounds.last)))
        start = max(start, time_range.last + 1)
        if start > bounds.last:
            break
    if start <= bounds.last:
        result.append(TimeRange(start, bounds.last))
    return [time_range for time_range in result if time_range.first <= bounds.last]


def slices(time_range: TimeRange) -> list[TimeRange]:
    """Cut a time range of several seconds into up to `SLICES` parts of about the same length, in order."""
    length = time_range.last - time_range.first + 1
    starts = [time_range.first + length * part // SLICES for part in range(SLICES)]
    ends = [*(start - 1 for start in starts[1:]), time_range.last]
    return [TimeRange(first, last) for first, last in zip(starts, ends, strict=True) if first <= last]


def isolate(time_range: TimeRange, crowded: Iterable[int]) -> list[TimeRange]:
    """Cut a time range so that each of the `crowded` seconds in it is a part of its own."""
    result: list[TimeRange] = []
    start = time_range.first
    for second in sorted(second for second in set(crowded) if time_range.first <= second <= time_range.last):
        if second > start:
            result.append(TimeRange(start, second - 1))
        result.append(TimeRange(second, second))
        start = second + 1
    if start <= time_range.last:
        result.append(TimeRange(start, time_range.last))
    return result


def _readable(second: int) -> str:
    return "the beginning" if second < 0 else timestamp(second)
