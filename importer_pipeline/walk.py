"""One walk: reading a listing between two moments until no second of it is missing. Pure: it says which page to read next
and is told what became of it; who reads, retries and delivers is `importer_pipeline.sync`.

    windows (from the end down) ──all in or failed──> gaps, read by time ──none left──> finished

A walk is a tree of spans. The root span is the whole stretch, and its pages are the windows. When the last page of a span is
in, the seconds that its pages did not prove become spans of their own: read by time, side by side, and reported under the
window below them. A span of a single second that fills a page is read in rounds (see `windows.CrowdedSecond`).

A failed window takes its stretch with it: the seconds between its nearest windows that are in are left alone until the window
itself is read again.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from importer_pipeline.errors import ImporterError, SecondTooCrowded
from importer_pipeline.windows import (
    Ask,
    CrowdedSecond,
    PageShape,
    Paging,
    Stretch,
    alone,
    covered,
    halves,
    joined,
    missing,
    timestamp,
    window_offsets,
)


@dataclass(eq=False, slots=True)
class _Span:
    """A stretch that is being read."""

    bounds: Stretch
    """The seconds that have to be proved."""
    is_root: bool
    """Whether it is the whole stretch of the walk, whose pages are the windows."""
    window: int
    """Offset of the window that its pages are reported under."""
    crowd: CrowdedSecond | None
    """The count of its contacts, where it is a single second."""
    covered: list[Stretch] = field(default_factory=list[Stretch])
    """What its delivered pages proved."""
    open_pages: int = 0
    """Pages asked for and neither delivered nor failed."""
    planned: bool = False
    """Whether the answer of its first page has told how many there are."""
    total: int = 0
    """Contacts in it, as the latest answer said."""
    round: int = 1
    """How often its pages have been asked for."""
    failed: bool = False
    """Whether one of its pages is given up."""


@dataclass(frozen=True, eq=False, slots=True)
class Reading:
    """One page to read, and what it is for."""

    ask: Ask
    """The page."""
    window: int
    """Offset of the window that it is reported under."""
    span: _Span
    """The stretch that it is a page of."""


@dataclass(eq=False, slots=True)
class Window:
    """What became of the contacts between an offset of the listing and the next window's."""

    offset: int
    """Its place in the listing when the snapshot was taken."""
    covered: list[Stretch] = field(default_factory=list[Stretch])
    """Seconds of which every contact has been delivered, in as few stretches as possible."""
    error: ImporterError | None = None
    """Why it could not be imported."""
    open_pages: int = 0
    """Its own pages that are neither delivered nor failed."""
    requests: int = 0
    """Pages asked for under it, those that failed included."""
    read: int = 0
    """Contacts in its pages, those that gaps brought included."""
    accepted: int = 0
    """Contacts of them that the target took."""
    refused: int = 0
    """Contacts of them that went to the quarantine."""

    @property
    def is_in(self) -> bool:
        """Whether all of its own pages have been delivered."""
        return self.open_pages == 0 and self.error is None


class Walk:
    """The reading of one listing of `since < last_changed <= before`.

    Attributes:
        windows: by offset, as far as they are known: the first page tells how many there are.
        reports: windows that came in, failed, or grew since this was last emptied by the caller.
    """

    def __init__(self, *, since: int, before: int, paging: Paging) -> None:
        self._paging = paging
        self._ready: deque[Reading] = deque()
        self._crowded: set[int] = set()
        self._open_spans = 0
        self._stopped: ImporterError | None = None
        self.windows: dict[int, Window] = {0: Window(0)}
        self.reports: deque[Window] = deque()
        self._root = self._open_span(Stretch(since + 1, before), window=0, is_root=True)

    @property
    def finished(self) -> bool:
        """Whether every window is in or has failed, and nothing else is missing."""
        return self._open_spans == 0

    @property
    def total(self) -> int:
        """Contacts of the listing when its first page was read."""
        return self._root.total

    @property
    def planned(self) -> bool:
        """Whether the first page has been answered, so that all windows are known."""
        return self._root.planned

    @property
    def has_ready(self) -> bool:
        """Whether `next` has a page to read now."""
        return bool(self._ready)

    def next(self) -> Reading | None:
        """The page to read next, or None where the next step waits for an answer."""
        return self._ready.popleft() if self._ready else None

    def arrived(self, reading: Reading, shape: PageShape) -> None:
        """A page has been read; the first one of a span tells which others there are. It is not delivered yet."""
        span = reading.span
        if span.planned or reading.ask.offset != 0:
            return
        span.planned = True
        span.total = shape.total
        if span.crowd is not None:
            self._ask_round(span, first_offset=self._paging.page_size)
            return
        for offset in reversed(window_offsets(shape.total, self._paging)[1:]):
            window = span.window
            if span.is_root:
                window = offset
                self.windows[offset] = Window(offset)
            self._ask(span, window=window, offset=offset)

    def unseen(self, reading: Reading, ids: Sequence[str]) -> set[str] | None:
        """The ids of a page that its crowded second has not yet delivered, or None where all of a page is to be delivered."""
        crowd = reading.span.crowd
        return None if crowd is None else crowd.new(ids)

    def delivered(self, reading: Reading, shape: PageShape, ids: Sequence[str]) -> None:
        """All contacts of a page are at the target or known as refused.

        Args:
            reading: as `next` gave it.
            shape: what the page told.
            ids: Mailchimp's ids of its contacts.
        """
        span = reading.span
        stretch = covered(reading.ask, shape)
        if stretch is not None:
            self._prove(reading, stretch)
        elif shape.length and shape.first == shape.last:
            self._crowded.add(shape.first)
        if span.crowd is not None:
            span.total = shape.total
            span.crowd.seen(ids, shape.total)
            if span.crowd.whole:
                self._prove(reading, span.bounds)
        self._settle(reading)

    def failed(self, reading: Reading, error: ImporterError) -> None:
        """A page is given up; its window fails with it."""
        reading.span.failed = True
        self._fail_window(reading.window, error)
        self._settle(reading)

    def split(self, reading: Reading) -> bool:
        """Ask for two halves of a page that the server does not manage; False where it is too small for that."""
        parts = halves(reading.ask, self._paging)
        if parts is None:
            return False
        span = reading.span
        span.open_pages += 1
        if span.is_root:
            self.windows[reading.window].open_pages += 1
        self._ready.extendleft(Reading(part, reading.window, span) for part in reversed(parts))
        return True

    def stop(self, error: ImporterError) -> None:
        """Give up every page that is not under way, and what they would have led to."""
        self._stopped = error
        while (reading := self.next()) is not None:
            self.failed(reading, error)

    def _open_span(self, bounds: Stretch, *, window: int, is_root: bool = False) -> _Span:
        crowd = CrowdedSecond() if bounds.first == bounds.last else None
        span = _Span(bounds, is_root, window, crowd)
        self._open_spans += 1
        self._ask(span, window=window, offset=0)
        return span

    def _prove(self, reading: Reading, stretch: Stretch) -> None:
        reading.span.covered.append(stretch)
        if reading.span.is_root:
            window = self.windows[reading.window]
            window.covered = joined([*window.covered, stretch])

    def _ask(self, span: _Span, *, window: int, offset: int) -> None:
        ask = Ask(since=span.bounds.first - 1, before=span.bounds.last, offset=offset, count=self._paging.page_size)
        span.open_pages += 1
        if span.is_root:
            self.windows[window].open_pages += 1
        self._ready.append(Reading(ask, window, span))

    def _ask_round(self, span: _Span, *, first_offset: int) -> None:
        for offset in range(first_offset, span.total, self._paging.page_size):
            self._ask(span, window=span.window, offset=offset)

    def _settle(self, reading: Reading) -> None:
        span = reading.span
        span.open_pages -= 1
        window = self.windows[reading.window]
        if span.is_root:
            window.open_pages -= 1
            if window.is_in:
                self.reports.append(window)
        if span.open_pages == 0:
            self._close(span)

    def _close(self, span: _Span) -> None:
        """All pages of a span are in: read what they left, in rounds or by time."""
        if span.crowd is not None and not span.failed and missing(span.bounds, span.covered):
            self._next_round(span)
            return
        self._open_spans -= 1
        if self._stopped is not None:
            return
        known = span.covered
        if span.is_root:
            known = [*known, *self._failed_stretches()]
        elif span.failed:
            return
        else:
            self._grow(span)
        for gap in missing(span.bounds, known):
            for part in alone(gap, self._crowded):
                self._open_span(part, window=self._window_below(part) if span.is_root else span.window)

    def _next_round(self, span: _Span) -> None:
        if self._stopped is not None or span.round >= self._paging.rounds:
            self._open_spans -= 1
            self._fail_window(
                span.window,
                SecondTooCrowded(
                    f"{span.total} contacts share the second {timestamp(span.bounds.first)} and came in another order at "
                    f"each of {span.round} rounds",
                    remedy="try this window again at a quieter hour",
                ),
            )
            return
        span.round += 1
        self._ask_round(span, first_offset=0)

    def _grow(self, span: _Span) -> None:
        window = self.windows[span.window]
        window.covered = joined([*window.covered, *span.covered])
        if window.is_in:
            self.reports.append(window)

    def _fail_window(self, offset: int, error: ImporterError) -> None:
        window = self.windows[offset]
        if window.error is None:
            window.error = error
            self.reports.append(window)

    def _failed_stretches(self) -> list[Stretch]:
        """What lies between the nearest windows that are in around each failed one."""
        result: list[Stretch] = []
        first, failed = self._root.bounds.first, False
        for window in (self.windows[offset] for offset in sorted(self.windows)):
            if window.error is not None:
                failed = True
            elif window.covered:
                if failed and first < window.covered[0].first:
                    result.append(Stretch(first, window.covered[0].first - 1))
                first, failed = window.covered[-1].last + 1, False
        if failed and first <= self._root.bounds.last:
            result.append(Stretch(first, self._root.bounds.last))
        return result

    def _window_below(self, gap: Stretch) -> int:
        below = [
            (window.covered[-1].last, window.offset)
            for window in self.windows.values()
            if window.error is None and window.covered and window.covered[0].first <= gap.first
        ]
        return max(below)[1] if below else 0
