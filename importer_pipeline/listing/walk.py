"""One walk: reads a listing between two moments until no second is missing. Pure: it returns the next page to read and
receives the result; `importer_pipeline.engine.sync` reads, retries and delivers.

    windows (from the end down) ──all imported or failed──> gaps, read by time ──none left──> finished

A walk is a tree of spans. The pages of its first span, the whole time range, are the windows. After the last of them,
the seconds that no page proved become spans of their own: read by time, in parallel, and reported under the window
below them. A gap of a single second that fills a page is read in rounds (see `coverage.CrowdedSecond`).

A walk that resumes an earlier one knows the imported windows. The others lie in sections: each is the time range
between the nearest imported windows, and its pages are the windows there. An imported window that is requested again is
read by its own time.

A window that is not imported keeps its time range: the seconds between its nearest imported neighbours are not read
until the window itself is.

A page that keeps failing is read by time: it proves nothing, so its seconds become a gap. A gap that can't be read is
cut into slices, down to the second, and a second into pages, down to the contact, so that everything around it is
delivered. Offsets that fail (too deep for the server, or beyond the real end) are not requested again.
"""

import sys
from collections import Counter, deque
from collections.abc import Mapping, Sequence, Set

from importer_pipeline.errors import (
    ImporterError,
    PageTooShort,
    SecondTooCrowded,
    StopAudience,
    StopClient,
    TriesUsedUp,
)
from importer_pipeline.listing.coverage import (
    ContactRequest,
    CrowdedSecond,
    PageRequest,
    PageShape,
    Paging,
    TimeRange,
    alone,
    covered,
    halves,
    joined,
    missing,
    slices,
    timestamp,
    window_offsets,
)
from importer_pipeline.listing.snapshots import ImportedWindow
from importer_pipeline.listing.spans import (
    Purpose,
    Reading,
    Section,
    Span,
    Unreadable,
    Window,
    WindowState,
    left_alone,
    sections,
    window_below,
)


class Walk:
    """The reading of one listing of `since < last_changed <= before`, or of single contacts.

    Start it with one of `read_all`, `count`, `resume` and `recall`.

    Attributes:
        windows: the known windows, by offset.
        total: contacts of the listing when its first page was read.
        planned: whether that is known, and with it all windows.
        reports: windows imported, failed, or grown since the caller last emptied this.
        unreadable: contacts that can't be read, since the caller last emptied this. To be read before `reports`.
    """

    def __init__(self, *, since: int, before: int, paging: Paging) -> None:
        self._bounds = TimeRange(since + 1, before)
        self._paging = paging
        self._ready: deque[Reading] = deque()
        self._crowded: set[int] = set()
        self._open_spans = 0
        self._open_sections = 0
        self._stopped: ImporterError | None = None
        self._reach = sys.maxsize
        self._slices: Counter[int] = Counter()
        self._again: set[int] = set()
        self.windows: dict[int, Window] = {0: Window(0)}
        self.total = 0
        self.planned = False
        self.reports: deque[Window] = deque()
        self.unreadable: deque[Unreadable] = deque()

    def read_all(self) -> None:
        """Read everything. The first page shows how many windows there are."""
        self._open_section(Section(self._bounds, start=0, wanted=[0]))

    def count(self) -> None:
        """Find out the number of windows, without reading them."""
        self._open_span(Span(self._bounds, Purpose.COUNT, window=0), count=1)

    def recall(self, contact_ids: Sequence[str]) -> None:
        """Read single contacts, whenever they changed."""
        span = Span(self._bounds, Purpose.CONTACTS, window=0, planned=True, open_pages=len(contact_ids))
        self._plan(len(contact_ids))
        self._open_spans += bool(contact_ids)
        self._ready.extend(Reading(ContactRequest(contact_id=contact_id), 0, span) for contact_id in contact_ids)

    def probe(self) -> None:
        """Request, before anything else, a page of an empty time range, which can't have any contacts."""
        before = self._bounds.last
        span = Span(self._bounds, Purpose.PROBE, window=0, planned=True, open_pages=1)
        self._open_spans += 1
        self._ready.appendleft(
            Reading(PageRequest(since=before, before=before, offset=0, count=1), 0, span, is_suspect=True)
        )

    def resume(self, *, total: int, known: Mapping[int, ImportedWindow], wanted: Set[int] | None) -> None:
        """Continue reading a listing that was read in part.

        Args:
            total: contacts of the listing when its first page was read.
            known: the imported windows, by offset.
            wanted: offsets of the windows to read, including imported ones; None for all that are not imported. An
                empty set reads nothing.
        """
        self._plan(total)
        for offset, imported in known.items():
            if offset in self.windows:
                self.windows[offset] = Window.imported_earlier(offset, imported)
        closes = wanted is None or bool(wanted)
        if wanted is None:
            wanted = {offset for offset, window in self.windows.items() if not window.is_imported}
        for section in list(sections(self.windows, wanted, bounds=self._bounds, step=self._paging.step)):
            self._open_section(section)
        for offset in sorted(wanted & known.keys() & self.windows.keys()):
            self._read_again(self.windows[offset])
        if not self._open_sections and closes:
            self._close_gaps()

    @property
    def finished(self) -> bool:
        """True if all that was requested is imported or has failed, and no gap between imported windows is left."""
        return self._open_spans == 0

    @property
    def left(self) -> int:
        """Number of windows that are neither imported nor failed."""
        return sum(window.state not in (WindowState.IMPORTED, WindowState.FAILED) for window in self.windows.values())

    @property
    def proved(self) -> list[TimeRange]:
        """The seconds whose contacts have all been delivered, in as few time ranges as possible."""
        return joined(stretch for window in self.windows.values() for stretch in window.covered)

    @property
    def is_whole(self) -> bool:
        """True if every window is imported and no second is missing: proof that no unchanged contact was missed."""
        return (
            self.planned
            and all(it.is_imported for it in self.windows.values())
            and not missing(self._bounds, self.proved)
        )

    @property
    def has_ready(self) -> bool:
        """True if `next` has a page to read now."""
        return bool(self._ready)

    def next(self) -> Reading | None:
        """Return the page to read next; None if the next step waits for an answer."""
        return self._ready.popleft() if self._ready else None

    def arrived(self, reading: Reading, shape: PageShape) -> None:
        """Record that a page has been read, but not delivered. The first one of a span shows which others there are."""
        span = reading.span
        if span.planned:
            return
        span.planned = True
        span.total = shape.total
        if span.purpose is Purpose.GAP:
            if span.crowd is not None:
                self._ask_round(span, first_offset=self._paging.page_size)
                return
            for offset in reversed(window_offsets(shape.total, self._paging)[1:]):
                # Else the page before it reaches the end, or it is left to be read by time.
                if offset + self._paging.overlap <= shape.total and offset < self._reach:
                    self._ask(span, window=span.window, offset=offset)
            return
        if not self.planned:
            self._plan(shape.total)
            span.waiting = [] if reading.only_counts else sorted(self.windows)[1:]
        self._ask_waiting(span)

    def unseen(self, reading: Reading, ids: Sequence[str]) -> set[str] | None:
        """Return the ids of a page that its crowded second has not delivered yet; None to deliver the whole page."""
        crowd = reading.span.crowd
        return None if crowd is None else crowd.new(ids)

    def delivered(self, reading: Reading, shape: PageShape, ids: Sequence[str]) -> None:
        """Record that all contacts of a page are at the target or recorded as refused, or that it was only to count.

        Args:
            reading: as returned by `next`.
            shape: the page's shape.
            ids: Mailchimp's ids of its contacts.
        """
        span = reading.span
        stretch = covered(reading.ask, shape)
        if reading.only_counts or span.purpose is Purpose.CONTACTS:
            pass
        elif shape.is_short:
            span.trouble = PageTooShort(f"Mailchimp counts {shape.total} contacts and shows fewer")
            self._read_by_time(reading)
        elif stretch is not None:
            self._prove(reading, stretch)
        elif shape.length and shape.first == shape.last:
            self._crowded.add(shape.first)
        if span.crowd is not None:
            span.total = shape.total
            span.crowd.seen(ids, shape.total, offset=reading.ask.offset)
            if span.crowd.whole:
                self._prove(reading, span.bounds)
        self._settle(reading)

    def failed(self, reading: Reading, error: ImporterError) -> None:
        """Give up a page and its window, unless that is imported and the page is of a gap that a later run can read."""
        span = reading.span
        span.failed = True
        is_left = isinstance(error, StopAudience | StopClient) and span.purpose is Purpose.GAP
        if reading.is_probe:
            pass
        elif not is_left or reading.window in self._again:
            self._fail_window(reading.window, error)
        if self.planned and not span.planned and self._stopped is None:
            # How many contacts there are has not been told, but the windows are known.
            span.planned, span.total = True, self.total
            self._ask_waiting(span)
        self._settle(reading)

    def split(self, reading: Reading, error: ImporterError) -> bool:
        """Request two halves of a page that is too large for the server; return False if it is too small for that."""
        reading.span.spoiled = error
        return self._halve(reading, overlap=self._paging.overlap, is_suspect=reading.is_suspect)

    def read_around(self, reading: Reading, error: ImporterError) -> bool:
        """Read around the part of a page that makes it fail repeatedly; return False if that is impossible.

        Args:
            reading: as returned by `next`.
            error: its latest error.
        """
        span = reading.span
        if self._stopped is not None or reading.only_counts or span.purpose is Purpose.CONTACTS:
            return False
        if span.crowd is not None:
            return self._leave_out(reading, error)
        if not self.planned:  # Some page has to tell how many contacts there are, and the moment.
            if self._halve(reading, overlap=0, is_suspect=True):
                return True
            if span.open_pages == 1:
                return False
            span.trouble = error
            self._read_by_time(reading)
            self._settle(reading)
            return True
        self._leave_to_time(reading, error)
        return True

    def read_before(self, reading: Reading, error: ImporterError) -> bool:
        """Read by time what offsets like the page's can't reach; return False if its offset is not the cause."""
        span, offset = reading.span, reading.ask.offset
        if self._stopped is not None or not self.planned or span.crowd is not None or not offset:
            return False
        self._reach = min(self._reach, max(self._paging.page_size, offset // 2))
        beyond = {it for it in self._ready if it.ask.offset >= self._reach and it.span.crowd is None}
        self._ready = deque(it for it in self._ready if it not in beyond)
        for it in (reading, *beyond):
            self._leave_to_time(it, error)
        return True

    def ends_before(self, reading: Reading, error: ImporterError) -> bool:
        """Request nothing after a page without contacts; return False if its offset proves nothing.

        Args:
            reading: as returned by `next`.
            error: the problem of a total that leads there.
        """
        span, offset = reading.span, reading.ask.offset
        if span.crowd is None:
            return self.read_before(reading, error)
        if self._stopped is not None or not offset:
            return False
        behind = {it for it in self._ready if it.span is span and it.ask.offset >= offset}
        self._ready = deque(it for it in self._ready if it not in behind)
        span.trouble = error
        for it in (reading, *behind):
            self._settle(it)
        return True

    def stop(self, error: ImporterError) -> None:
        """Drop every page that is not under way, and all that would follow from them."""
        self._stopped = error
        while (reading := self.next()) is not None:
            reading.span.failed = True
            if reading.span.purpose is Purpose.WINDOWS:
                self._leave(self.windows[reading.window])
            self._settle(reading)

    def _halve(self, reading: Reading, *, overlap: int, is_suspect: bool) -> bool:
        span = reading.span
        parts = halves(reading.ask, overlap=0 if span.crowd is not None else overlap)
        if parts is None:
            return False
        if (
            span.crowd is not None and span.planned
        ):  # A second that is past only loses contacts: nobody comes behind its end.
            parts = [part for part in parts if part.offset < span.total]
        span.open_pages += len(parts) - 1
        if span.purpose is Purpose.WINDOWS:
            self.windows[reading.window].open_pages += 1
        self._ready.extendleft(Reading(part, reading.window, span, is_suspect) for part in reversed(parts))
        if not parts:
            span.open_pages += 1
            self._settle(reading)
        return True

    def _leave_to_time(self, reading: Reading, error: ImporterError) -> None:
        """Settle a page without a proof: its seconds become a gap."""
        span = reading.span
        span.trouble = error
        self._read_by_time(reading)
        if not span.planned:
            span.planned, span.total = True, self.total
            self._ask_waiting(span)
        self._settle(reading)

    def _read_by_time(self, reading: Reading) -> None:
        if reading.span.purpose is Purpose.WINDOWS and self.windows[reading.window].state is WindowState.UNDER_WAY:
            self.windows[reading.window].state = WindowState.BY_TIME

    def _settle_by_time(self) -> None:
        """Import the windows read by time: all is read, and unreadable gaps have failed the window below them."""
        for offset in sorted(self.windows):
            if self.windows[offset].state is WindowState.BY_TIME:
                self._mark_imported(self.windows[offset])

    def _leave_out(self, reading: Reading, error: ImporterError) -> bool:
        """Halve a page of a second; if it is a single contact, remember that it can't be read."""
        reading.span.spoiled = error
        if self._halve(reading, overlap=0, is_suspect=True):
            return True
        if len(reading.span.holes) >= self._paging.holes:
            return False
        reading.span.holes.append(error)
        self._settle(reading)
        return True

    def _plan(self, total: int) -> None:
        self.planned, self.total = True, total
        for offset in window_offsets(total, self._paging):
            self.windows.setdefault(offset, Window(offset))

    def _open_section(self, section: Section) -> None:
        if section.bounds.first > section.bounds.last:
            for offset in section.wanted:
                self._mark_imported(self.windows[offset])
            return
        self._open_sections += 1
        first, *waiting = section.wanted
        first_offset = first - section.start
        self._open_span(
            Span(section.bounds, Purpose.WINDOWS, section.start, first_offset=first_offset, waiting=waiting),
            count=self._paging.page_size,
        )

    def _read_again(self, window: Window) -> None:
        window.start_over()
        self._again.add(window.offset)
        for stretch in list(window.covered):
            self._open_gap(stretch, window=window.offset)
        if not window.covered:
            self.reports.append(window)

    def _open_gap(self, bounds: TimeRange, *, window: int, is_suspect: bool = False) -> None:
        crowd = CrowdedSecond() if bounds.first == bounds.last else None
        span = Span(bounds, Purpose.GAP, window, crowd=crowd)
        self._open_span(span, count=self._paging.page_size, is_suspect=is_suspect)

    def _open_span(self, span: Span, *, count: int, is_suspect: bool = False) -> None:
        self._open_spans += 1
        window = span.window + span.first_offset
        self._ask(span, window=window, offset=span.first_offset, count=count, is_suspect=is_suspect)

    def _prove(self, reading: Reading, stretch: TimeRange) -> None:
        reading.span.covered.append(stretch)
        if reading.span.purpose is Purpose.WINDOWS:
            self.windows[reading.window].cover([stretch])

    def _ask(self, span: Span, *, window: int, offset: int, count: int | None = None, is_suspect: bool = False) -> None:
        ask = PageRequest(
            since=span.bounds.first - 1,
            before=span.bounds.last,
            offset=offset,
            count=self._paging.page_size if count is None else count,
        )
        span.open_pages += 1
        if span.purpose is Purpose.WINDOWS:
            self.windows[window].state = WindowState.UNDER_WAY
            self.windows[window].open_pages += 1
        self._ready.append(Reading(ask, window, span, is_suspect))

    def _ask_waiting(self, span: Span) -> None:
        """Request the other windows of a section, from its end down; there is nothing to request beyond its end."""
        waiting, span.waiting = span.waiting, []
        for offset in reversed(waiting):
            if offset - span.window < min(span.total, self._reach):
                self._ask(span, window=offset, offset=offset - span.window)
            elif offset - span.window < span.total:
                self.windows[offset].state = WindowState.BY_TIME
            else:
                self._mark_imported(self.windows[offset])

    def _ask_round(self, span: Span, *, first_offset: int) -> None:
        for offset in range(first_offset, span.total, self._paging.page_size):
            self._ask(span, window=span.window, offset=offset)

    def _settle(self, reading: Reading) -> None:
        span = reading.span
        span.open_pages -= 1
        if span.purpose is Purpose.WINDOWS:
            window = self.windows[reading.window]
            window.open_pages -= 1
            if window.open_pages == 0 and window.state is WindowState.UNDER_WAY:
                self._mark_imported(window)
        if span.open_pages == 0:
            self._close(span)
            if self.finished and self._stopped is None:
                self._settle_by_time()

    def _close(self, span: Span) -> None:
        """Close a span whose pages are all settled: read what they left, in rounds or by time."""
        if span.crowd is not None and not span.failed and missing(span.bounds, span.covered):
            self._next_round(span)
            return
        self._open_spans -= 1
        if span.purpose is Purpose.WINDOWS:
            self._open_sections -= 1
            if not self._open_sections and self._stopped is None:
                self._close_gaps()
        elif span.purpose is Purpose.GAP and self._stopped is None and not span.failed:
            self._grow(span)
            self._read_rest(span)

    def _close_gaps(self) -> None:
        """Read the gaps between imported windows: all requested windows are imported or failed."""
        is_known = (WindowState.IMPORTED, WindowState.BY_TIME)
        known = [stretch for it in self.windows.values() if it.state in is_known for stretch in it.covered]
        for gap in missing(self._bounds, [*known, *left_alone(self.windows, bounds=self._bounds)]):
            window = window_below(self.windows, gap)
            self._read_gaps([gap], window=window, is_suspect=self.windows[window].state is WindowState.BY_TIME)

    def _read_rest(self, span: Span) -> None:
        """Read what the pages of a gap have left, in slices if they failed and proved nothing."""
        rest = missing(span.bounds, span.covered)
        if span.trouble is None:
            self._read_gaps(rest, window=span.window)
            return
        for gap in slices(span.bounds) if rest == [span.bounds] else rest:
            self._slices[span.window] += 1
            if self._slices[span.window] > self._paging.slices:
                self._fail_unread(span, gap, span.trouble)
                return
            self._open_gap(gap, window=span.window, is_suspect=True)

    def _fail_unread(self, span: Span, gap: TimeRange, error: ImporterError) -> None:
        self._fail_window(
            span.window,
            TriesUsedUp(
                f"what changed from {timestamp(gap.first)} to {timestamp(gap.last)} can't be read whole ({error.problem})",
                remedy=error.remedy or "it is tried again by itself; if it stays, ask Mailchimp's support",
            ),
        )

    def _read_gaps(self, gaps: Sequence[TimeRange], *, window: int, is_suspect: bool = False) -> None:
        for gap in gaps:
            for part in alone(gap, self._crowded):
                self._open_gap(part, window=window, is_suspect=is_suspect)

    def _next_round(self, span: Span) -> None:
        unseen = None if span.crowd is None else span.crowd.unseen
        if self._stopped is not None:
            self._open_spans -= 1
        elif unseen is not None and span.has_found_unreadable(unseen):
            self._open_spans -= 1
            self._report_unreadable(span, unseen, span.holes[0])
        elif unseen is None or (span.trouble is not None and span.round > 1):
            self._open_spans -= 1
            self._fail_unread(span, span.bounds, span.trouble or span.holes[0])
        elif span.round >= self._paging.rounds and span.spoiled is not None and unseen <= self._paging.holes:
            # In another order at each request, so that no page of one contact need meet those that spoil theirs.
            self._open_spans -= 1
            self._report_unreadable(span, unseen, span.spoiled)
        elif span.round >= self._paging.rounds:
            self._open_spans -= 1
            self._fail_window(
                span.window,
                SecondTooCrowded(
                    f"{span.total} contacts share the second {timestamp(span.bounds.first)} and came in another order at "
                    f"each of {span.round} rounds",
                    remedy="try this window again at a quieter hour",
                ),
            )
        else:
            span.round += 1
            span.trouble = None
            span.holes.clear()
            self._ask_round(span, first_offset=0)

    def _report_unreadable(self, span: Span, unseen: int, error: ImporterError) -> None:
        """Count the unreadable contacts of a second as refused: all others of it have been delivered."""
        ids = [*sorted(span.named_holes), *[""] * unseen][:unseen]
        at = timestamp(span.bounds.first)
        self.unreadable.append(
            Unreadable(
                window=span.window,
                second=span.bounds.first,
                contact_ids=tuple(ids),
                reason=f"Mailchimp does not send this contact, which changed at {at}: {error.problem}",
            )
        )
        window = self.windows[span.window]
        window.read += unseen
        window.refused += unseen
        span.covered.append(span.bounds)
        self._grow(span)

    def _grow(self, span: Span) -> None:
        window = self.windows[span.window]
        window.cover(span.covered)
        if window.is_imported and span.covered:
            self.reports.append(window)

    def _mark_imported(self, window: Window) -> None:
        window.state = WindowState.IMPORTED
        self.reports.append(window)

    def _fail_window(self, offset: int, error: ImporterError) -> None:
        window = self.windows[offset]
        if window.state is not WindowState.FAILED:
            window.state, window.error = WindowState.FAILED, error
            self.reports.append(window)

    def _leave(self, window: Window) -> None:
        if window.state is WindowState.UNDER_WAY:
            window.state = WindowState.MISSING
