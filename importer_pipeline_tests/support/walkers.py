"""Readers for the tests of a walk: they read a listing that changes page by page, with faults or without.

Stays out: the engine, which tries again and delivers (see `factories`).
"""

from collections.abc import Set
from dataclasses import dataclass, field
from random import Random

from importer_pipeline.errors import ImporterError, TooSlow, TriesUsedUp
from importer_pipeline.listing.coverage import PageRequest, Paging, TimeRange
from importer_pipeline.listing.snapshots import ImportedWindow
from importer_pipeline.listing.spans import Reading
from importer_pipeline.listing.walk import Walk
from importer_pipeline_tests.support.factories import SMALL, Cut, Listing, imported, requested

SLOW = TooSlow("HTTP 504")

BEFORE = 1000
"""The last second of the walks."""

LOST = TriesUsedUp("no answer, 4 times")
"""The error of a page that is given up."""

PATIENT = Paging(page_size=6, overlap=2, rounds=400)
"""For listings that never stop changing."""


@dataclass(slots=True)
class Walker:
    """Reads a listing by a walk, and keeps what it saw and what the next walk needs to know."""

    listing: Listing
    walk: Walk
    seen: set[str] = field(default_factory=set[str])
    known: dict[int, ImportedWindow] = field(default_factory=dict[int, ImportedWindow])
    """Imported windows, as last reported."""
    asked: list[PageRequest] = field(default_factory=list[PageRequest])
    reports: list[tuple[int, bool, tuple[TimeRange, ...]]] = field(
        default_factory=list[tuple[int, bool, tuple[TimeRange, ...]]]
    )

    def next(self) -> Reading:
        """Take the next page request."""
        reading = self.walk.next()
        assert reading is not None
        self.asked.append(requested(reading))
        return reading

    def read(self, reading: Reading) -> Cut:
        """Read a page and deliver it."""
        cut = self.listing.cut(reading.request)
        self.walk.arrived(reading, cut.shape)
        self.deliver(reading, cut)
        return cut

    def deliver(self, reading: Reading, cut: Cut) -> None:
        """Deliver all of a page that has arrived."""
        unseen = self.walk.unseen(reading, cut.ids)
        self.seen.update(cut.ids if unseen is None else unseen)
        self.walk.delivered(reading, cut.shape, cut.ids)
        self.note()

    def fail(self, reading: Reading, error: ImporterError = LOST) -> None:
        """Give up a page."""
        self.walk.failed(reading, error)
        self.note()

    def rest(self) -> None:
        """Read all that is left."""
        for _ in range(1000):
            if not self.walk.has_ready:
                break
            self.read(self.next())
        self.note()
        assert self.walk.finished

    @property
    def offsets(self) -> list[int]:
        """Offsets of the requested pages, in order."""
        return [request.offset for request in self.asked]

    def note(self) -> None:
        """Add what the walk reports."""
        while self.walk.reports:
            window = self.walk.reports.popleft()
            self.reports.append((window.offset, window.error is None, tuple(window.covered)))
            if window.is_imported:
                self.known[window.offset] = window.imported


def walker(*seconds: int, paging: Paging = SMALL, before: int = BEFORE, rng: Random | None = None) -> Walker:
    """Make a walk of a listing from the beginning."""
    reading = Walker(Listing(seconds, rng=rng), Walk(since=-1, before=before, paging=paging))
    reading.walk.read_all()
    return reading


def resumed_walk(
    earlier: Walker, *known: int, wanted: Set[int] | None = None, paging: Paging = SMALL, total: int | None = None
) -> Walker:
    """Make a walk that resumes an earlier one, with these of its windows imported."""
    later = Walker(earlier.listing, Walk(since=-1, before=BEFORE, paging=paging), seen=earlier.seen)
    later.known = {offset: earlier.known[offset] for offset in known}
    later.walk.resume(total=earlier.walk.total if total is None else total, known=later.known, wanted=wanted)
    return later


def open_gap(contacts: int) -> Walker:
    """Make a walk that has only a gap left: so many contacts, one a second from 4 on, above window 0."""
    gap = Walker(Listing(range(1, 24)), Walk(since=-1, before=BEFORE, paging=SMALL))
    gap.walk.resume(
        total=8, known={0: imported(TimeRange(0, 3)), 4: imported(TimeRange(4 + contacts, BEFORE))}, wanted=None
    )
    return gap


def all_read(*seconds: int) -> Walker:
    """Make a finished walk."""
    earlier = walker(*seconds)
    earlier.rest()
    return earlier


def six_windows() -> Walker:
    """Read all of 23 contacts, one a second from 1 on.

    What the windows cover: 0 to 5, 6 to 9, 10 to 13, 14 to 17, 18 to 21, and from 22 on.
    """
    return all_read(*range(1, 24))


def covered_by(walk: Walk) -> list[TimeRange]:
    """Return all that its windows cover, in order."""
    return sorted(span for window in walk.windows.values() for span in window.covered)


@dataclass(slots=True)
class FaultyReader:
    """Reads by a walk while contacts leave at any moment, pages are halved or fail, and answers come in any order."""

    rng: Random
    leaves: float
    """Probability that a contact leaves between two steps."""
    fails: float = 0.0
    """Probability that a page is given up."""
    dies: float = 0.0
    """Probability that it ends between two steps, wherever it is."""

    def read(self, reading: Walker) -> None:
        """Read until the walk is finished, or dies."""
        rng, flights, arrived = self.rng, list[Reading](), list[tuple[Reading, Cut]]()
        while not reading.walk.finished and rng.random() >= self.dies:
            if rng.random() < self.leaves and reading.listing.seconds:
                reading.listing.leave(rng.choice(sorted(reading.listing.seconds)))
            happens = rng.random()
            if happens < 0.4 and reading.walk.has_ready:
                flights.append(reading.next())
            elif happens < 0.5 and flights:
                flight = flights.pop(rng.randrange(len(flights)))
                if not reading.walk.split(flight, SLOW):
                    flights.append(flight)
            elif happens < 0.7 and flights:
                flight = flights.pop(rng.randrange(len(flights)))
                if rng.random() < self.fails:
                    reading.fail(flight)
                else:
                    cut = reading.listing.cut(flight.request)
                    reading.walk.arrived(flight, cut.shape)
                    arrived.append((flight, cut))
            elif arrived:
                reading.deliver(*arrived.pop(rng.randrange(len(arrived))))
                assert_covered_is_seen(reading)
        reading.note()


def assert_covered_is_seen(reading: Walker) -> None:
    """Assert that whoever did not change in a covered second has been delivered."""
    for window in reading.known.values():
        for span in window.covered:
            still = {key for key, at in reading.listing.seconds.items() if span.first <= at <= span.last}
            assert still <= reading.seen


def some_listing(rng: Random) -> Listing:
    """Draw a listing, some contacts of which share a second, with an order drawn for each page."""
    spread = rng.choice((3, 12, 40))
    return Listing([rng.randint(1, spread) for _ in range(rng.randint(0, 40))], rng=rng)
