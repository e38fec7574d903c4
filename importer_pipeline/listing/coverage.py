"""What a page of a sorted listing proves, and what is still missing: pure, no I/O.

An audience is read by offset while contacts leave the listing: who changes gets a new `last_changed`, drops out of
`since < last_changed <= before`, and all behind it move one place down. A position therefore proves nothing. The
`last_changed` of a contact that stands still does: it never moves. So reading is accounted for in time, and offsets are only
a guess at where to look.

**What a page proves.** A page is the cut of a sorted list at one moment, from its offset on. Whoever sorts strictly between
two members of a contiguous cut is in the cut, so the page holds *every* contact of each second strictly between its first
and its last: it covers `[first + 1, last - 1]`. It covers from `since + 1` on if its offset is 0, and up to `before` if it
reaches the end (`length < count` and `offset + length >= total`). Beyond the end it covers nothing; an empty list covers all.

**Why nothing is lost.** Let a contact stand still at second t of `(since, before]`. When no second is missing, t lies in some
covered stretch, which one page proved at a moment when the contact was in the listing; so the contact was in that page.
What moved before or after, in which order the answers came, what was retried, and in which order the contacts of one second
were sent don't enter. `last_changed` has a resolution of one second (V), and the order within a second is not known, which is
why the first and the last second of a page are not covered by it.

**A crowded second.** A second that fills a page can't be covered by its neighbours; it is asked for alone. One page of it is
whole at one moment. More than a page is read over and over (see `CrowdedSecond`).

Windows lie `step` apart and ask for a page each, so that neighbours overlap and calm walks leave nothing missing. What is
missing in the end is read by time. How a walk goes through all of this is in `importer_pipeline.listing.walk`.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from importer_pipeline.errors import BrokenAnswer

BEGINNING = -1
"""`since` of a walk that takes all contacts from the first on."""

MAX_CONTACTS = 10_000_000
"""Contacts of the largest listing that is believed to exist: ten times the largest that we have heard of."""

SLICES = 8
"""How many stretches are made of one that can't be read: each further cut takes another round of requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paging:
    """How a listing is cut into windows."""

    page_size: int = 1000
    """Contacts of a page; Mailchimp clamps more than 1000 without a word (D)."""
    overlap: int = 10
    """Contacts that neighbouring windows share, so that those who leave in between open no gap; at least 2, because neither
    covers the second of a contact that is the last of the one and the first of the other."""
    rounds: int = 50
    """How often all pages of a crowded second are read before it is given up."""
    slices: int = 200
    """Stretches that may be read for one window to find what can't be read in it."""
    holes: int = 10
    """Contacts of one second that may be left out because they can't be read."""

    @property
    def step(self) -> int:
        """Contacts from the start of a window to the start of the next."""
        return self.page_size - self.overlap


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """One page asked for: `since < last_changed <= before`, sorted by `last_changed`, from `offset` on."""

    since: int
    """Epoch seconds, exclusive; `BEGINNING` for no bound."""
    before: int
    """Epoch seconds, inclusive."""
    offset: int
    """Contacts of the listing that are passed over."""
    count: int
    """Contacts asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactRequest(PageRequest):
    """A page of one contact, which is asked for by its id, whenever it changed."""

    since: int = BEGINNING
    before: int = 0
    offset: int = 0
    count: int = 1
    contact_id: str
    """Mailchimp's `id`."""


@dataclass(frozen=True, slots=True, order=True)
class TimeRange:
    """Whole seconds from `first` to `last`, both included."""

    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PageShape:
    """What a page tells about the listing that it was cut from."""

    length: int
    """Contacts in the page."""
    first: int
    """Second of its first contact; 0 when it is empty."""
    last: int
    """Second of its last contact; 0 when it is empty."""
    total: int
    """Contacts in the listing at that moment (`total_items`)."""
    is_short: bool = False
    """True if it holds fewer contacts than its own total says. It is no contiguous cut then, and proves nothing."""


def seconds(stamp: str) -> int:
    """Return epoch seconds of one of Mailchimp's timestamps, which are UTC; an unknown one is `""` (D) and sorts first.

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
    """Return the second as Mailchimp writes it, in UTC: other offsets were ignored without a word (U)."""
    return datetime.fromtimestamp(second, UTC).isoformat()


def page_shape(ask: PageRequest, stamps: Sequence[str], total: int) -> PageShape:
    """Check that a page can be the answer to `ask`, and tell its shape.

    Args:
        ask: what was asked for.
        stamps: `last_changed` of each contact, in the order of the answer.
        total: `total_items` of the answer.

    Raises:
        BrokenAnswer: unsorted, outside its bounds, longer than asked for, or of a listing that is too large to exist. A filter
            or an order that the server ignored would void the proof, so this is never let pass.
    """
    length = len(stamps)
    expected = max(0, min(ask.count, total - ask.offset))
    if total > MAX_CONTACTS:
        raise BrokenAnswer(f"expected a listing of up to {MAX_CONTACTS} contacts, found one that claims more")
    if length > ask.count:
        raise BrokenAnswer(
            f"expected {expected} to {ask.count} contacts at offset {ask.offset} of {total}, found {length}"
        )
    is_short = length < expected
    if not stamps:
        return PageShape(length=0, first=0, last=0, total=total, is_short=is_short)
    # ISO 8601 of one offset sorts as text; another offset among them shows when first and last are parsed or out of order.
    if any(earlier > later for earlier, later in pairwise(stamps)):
        raise BrokenAnswer("expected contacts sorted by last_changed, found them unsorted")
    first, last = seconds(stamps[0]), seconds(stamps[-1])
    if first <= ask.since or last > ask.before:
        raise BrokenAnswer(
            f"expected last_changed after {_readable(ask.since)} and up to {_readable(ask.before)}, "
            f"found {_readable(first)} to {_readable(last)}"
        )
    return PageShape(length=length, first=first, last=last, total=total, is_short=is_short)


def covered(ask: PageRequest, shape: PageShape) -> TimeRange | None:
    """Return the seconds of which the page holds every contact, or None if there are none."""
    if shape.is_short:
        return None
    reaches_end = shape.length < ask.count and ask.offset + shape.length >= shape.total
    if shape.length == 0:
        return TimeRange(ask.since + 1, ask.before) if ask.offset == 0 and shape.total == 0 else None
    first = ask.since + 1 if ask.offset == 0 else shape.first + 1
    last = ask.before if reaches_end else shape.last - 1
    return TimeRange(first, last) if first <= last else None


def window_offsets(total: int, paging: Paging) -> range:
    """Return offsets of the windows of a listing of `total` contacts; always at least that of the first."""
    return range(0, max(total, 1), paging.step)


def halves(ask: PageRequest, *, overlap: int) -> tuple[PageRequest, PageRequest] | None:
    """Return two pages that overlap and together hold what `ask` asks for; None if it is too small to be worth it."""
    if ask.count < max(2, 3 * overlap):
        return None
    half = (ask.count + overlap + 1) // 2
    start = ask.offset + half - overlap
    return (
        PageRequest(since=ask.since, before=ask.before, offset=ask.offset, count=half),
        PageRequest(since=ask.since, before=ask.before, offset=start, count=ask.offset + ask.count - start),
    )


def joined(stretches: Iterable[TimeRange]) -> list[TimeRange]:
    """Return the same seconds in as few stretches as possible, in order."""
    result: list[TimeRange] = []
    for stretch in sorted(stretches):
        if result and stretch.first <= result[-1].last + 1:
            result[-1] = TimeRange(result[-1].first, max(result[-1].last, stretch.last))
        else:
            result.append(stretch)
    return result


def missing(bounds: TimeRange, known: Iterable[TimeRange]) -> list[TimeRange]:
    """Return the seconds of `bounds` that lie in none of the `known` stretches, in order."""
    result: list[TimeRange] = []
    start = bounds.first
    for stretch in joined(known):
        if stretch.first > start:
            result.append(TimeRange(start, min(stretch.first - 1, bounds.last)))
        start = max(start, stretch.last + 1)
        if start > bounds.last:
            break
    if start <= bounds.last:
        result.append(TimeRange(start, bounds.last))
    return [stretch for stretch in result if stretch.first <= bounds.last]


def slices(stretch: TimeRange) -> list[TimeRange]:
    """Cut a stretch of several seconds into up to `SLICES` of about one length, in order."""
    length = stretch.last - stretch.first + 1
    starts = [stretch.first + length * part // SLICES for part in range(SLICES)]
    ends = [*(start - 1 for start in starts[1:]), stretch.last]
    return [TimeRange(first, last) for first, last in zip(starts, ends, strict=True) if first <= last]


def alone(stretch: TimeRange, crowded: Iterable[int]) -> list[TimeRange]:
    """Return the stretch cut so that each of the `crowded` seconds in it stands alone."""
    result: list[TimeRange] = []
    start = stretch.first
    for second in sorted(second for second in set(crowded) if stretch.first <= second <= stretch.last):
        if second > start:
            result.append(TimeRange(start, second - 1))
        result.append(TimeRange(second, second))
        start = second + 1
    if start <= stretch.last:
        result.append(TimeRange(start, stretch.last))
    return result


class CrowdedSecond:
    """The contacts of one second that fill more than a page, and whether all of them have been seen.

    Their order may change at each request, so pages of one round need not add up. But contacts only leave a second that is
    past. So for each total T that was answered: all pages whose total was at most T show subsets of the set that the second
    held when its total was T; once their distinct ids are T, they are that whole set, and with it everyone who stood still.
    Counting the ids of all pages against the last total would be wrong: one who was seen and has left makes up for one who
    was not seen.

    Attributes:
        keeps_order: whether every contact has come at one place as long as the total was the same.
    """

    def __init__(self) -> None:
        self._lowest_total: dict[str, int] = {}
        self._ids_at: Counter[int] = Counter()
        self._places: dict[tuple[int, str], int] = {}
        self.keeps_order = True

    def new(self, ids: Iterable[str]) -> set[str]:
        """Return those of `ids` that no page has shown so far."""
        return {contact_id for contact_id in ids if contact_id not in self._lowest_total}

    def seen(self, ids: Sequence[str], total: int, *, offset: int) -> None:
        """Count one page in.

        Args:
            ids: Mailchimp's ids of the contacts in the page; they have been delivered.
            total: `total_items` of that page.
            offset: where in the second the page begins.
        """
        for place, contact_id in enumerate(ids, offset):
            if self._places.setdefault((total, contact_id), place) != place:
                self.keeps_order = False
        self._ids_at[total] += 0
        for contact_id in set(ids):
            lowest = self._lowest_total.get(contact_id)
            if lowest is None or total < lowest:
                self._lowest_total[contact_id] = total
                self._ids_at[total] += 1
                if lowest is not None:
                    self._ids_at[lowest] -= 1

    @property
    def unseen(self) -> int | None:
        """How many contacts that stood still may not have been seen: 0 is proof that all have; None before any page."""
        distinct, fewest = 0, None
        for total in sorted(self._ids_at):
            distinct += self._ids_at[total]
            if distinct <= total and (fewest is None or total - distinct < fewest):
                fewest = total - distinct
        return fewest

    @property
    def whole(self) -> bool:
        """True if every contact that stood still has been seen."""
        return self.unseen == 0


def _readable(second: int) -> str:
    return "the beginning" if second < 0 else timestamp(second)
