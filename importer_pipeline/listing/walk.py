"""One walk: reads a listing between two moments until no second is missing. Pure: it returns the next page to read and
receives the result; `importer_pipeline.engine.sync` reads, retries and delivers.

    windows (from the end down) ──all imported or failed──> gaps, read by time ──none left──> finished

A walk is a tree of spans. The pages of its first span, the whole time range, are the windows. After the last of them,
the seconds that no page proved become spans of their own: read by time, in parallel, and reported under the window
below them. A gap of a single second that fills a page is read in rounds (see `crowded_second`).

A walk that resumes an earlier one knows the imported windows. The others lie in sections: each is the time range
between the nearest imported windows, and its pages are the windows there. An imported window that is requested again is
read by its own time.

A window that is not imported keeps its time range: the seconds between its nearest imported neighbours are not read
until the window itself is.

A page that keeps failing is read by time: it proves nothing, so its seconds become a gap (see `gaps`). Offsets that
fail (too deep for the server, or beyond the real end) are not requested again.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence, Set

from importer_pipeline.errors import (
    ImporterError,
    PageTooShort,
    StopAudience,
    StopClient,
)
from importer_pipeline.listing.coverage import (
    PageRequest,
    PageShape,
    Paging,
    TimeRange,
    covered,
    joined,
    missing,
    window_offsets,
)
from importer_pipeline.listing.gaps import Gaps
from importer_pipeline.listing.page_queue import PageQueue
from importer_pipeline.listing.snapshots import ImportedWindow
from importer_pipeline.listing.spans import (
    Purpose,
    Reading,
    Section,
    Span,
    Window,
    WindowState,
    sections,
)
from importer_pipeline.listing.window_states import WindowStates


class Walk:
    """The reading of one listing of `since < last_changed <= before`, or of single contacts.

    Start it with one of `read_all`, `count_windows`, `resume` and `read_contacts`.

    Attributes:
        windows: the known windows, by offset.
        reports: windows imported, failed, or grown since the caller last emptied this.
        unreadable: contacts that can't be read, since the caller last emptied this. To be read before `reports`.
    """

    def __init__(self, *, since: int, before: int, paging: Paging) -> None:
        self._bounds = TimeRange(since + 1, before)
        self._paging = paging
        self._open_sections = 0
        self._stopped: ImporterError | None = None
        self._reach = sys.maxsize
        self._again: set[int] = set()
        self._states = WindowStates()
        self._pages = PageQueue(self._states, page_size=paging.page_size)
        self._gaps = Gaps(self._states, self._pages, paging=paging)
        self.windows = self._states.by_offset
        self.reports = self._states.reports
        self.unreadable = self._gaps.unreadable

    def read_all(self) -> None:
        """Read everything. The first page shows how many windows there are."""
        self._open_section(Section(self._bounds, start=0, wanted=[0]))

    def count_windows(self) -> None:
        """Find out the number of windows, without reading them."""
        self._pages.open_span(Span(self._bounds, Purpose.COUNT, window=0), count=1)

    def read_contacts(self, contact_ids: Sequence[str]) -> None:
        """Read single contacts, whenever they changed."""
        self._states.plan(len(contact_ids), self._paging)
        self._pages.open_contacts(Span(self._bounds, Purpose.CONTACTS, window=0, planned=True), contact_ids)

    def probe(self) -> None:
        """Request, before anything else, a page of an empty time range, which can't have any contacts."""
        self._pages.open_probe(Span(self._bounds, Purpose.PROBE, window=0, planned=True))

    def resume(self, *, total: int, known: Mapping[int, ImportedWindow], wanted: Set[int] | None) -> None:
        """Continue reading a listing that was read in part.

        Args:
            total: contacts of the listing when its first page was read.
            known: the imported windows, by offset.
            wanted: offsets of the windows to read, including imported ones; None for all that are not imported. An
                empty set reads nothing.
        """
        self._states.plan(total, self._paging)
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
            self._gaps.open_missing(self._bounds)

    @property
    def total(self) -> int:
        """Contacts of the listing when its first page was read."""
        return self._states.total

    @property
    def planned(self) -> bool:
        """True if the total is known, and with it all windows."""
        return self._states.planned

    @property
    def finished(self) -> bool:
        """True if all that was requested is imported or has failed, and no gap between imported windows is left."""
        return self._pages.open_spans == 0

    @property
    def left(self) -> int:
        """Number of windows that are neither imported nor failed."""
        return sum(window.state not in (WindowState.IMPORTED, WindowState.FAILED) for window in self.windows.values())

    @property
    def proved(self) -> list[TimeRange]:
        """The seconds whose contacts have all been delivered, in as few time ranges as possible."""
        return joined(time_range for window in self.windows.values() for time_range in window.covered)

    @property
    def is_proved(self) -> bool:
        """True if every window is imported and no second is missing: proof that no unchanged contact was missed."""
        return (
            self.planned
            and all(it.is_imported for it in self.windows.values())
            and not missing(self._bounds, self.proved)
        )

    @property
    def has_ready(self) -> bool:
        """True if `next` has a page to read now."""
        return bool(self._pages)

    @property
    def ready(self) -> int:
        """Number of pages to read that are known by now."""
        return len(self._pages)

    def next(self) -> Reading | None:
        """Return the page to read next; None if the next step waits for an answer."""
        return self._pages.next()

    def arrived(self, reading: Reading, shape: PageShape) -> None:
        """Record that a page has been read, but not delivered. The first one of a span shows which others there are."""
        span = reading.span
        if span.planned:
            return
        span.planned = True
        span.total = shape.total
        if span.purpose is Purpose.GAP:
            if span.crowd is not None:
                # Behind a page without contacts there are none, whatever the total says.
                if shape.length or not shape.is_short:
                    self._gaps.request_round(span, first_offset=self._paging.page_size)
                return
            for offset in reversed(window_offsets(shape.total, self._paging)[1:]):
                # Else the page before it reaches the end, or it is left to be read by time.
                if offset + self._paging.overlap <= shape.total and offset < self._reach:
                    self._pages.add(span, window=span.window, offset=offset)
            return
        if not self.planned:
            self._states.plan(shape.total, self._paging)
            span.waiting = [] if reading.only_counts else sorted(self.windows)[1:]
        self._request_waiting(span)

    def unseen(self, reading: Reading, ids: Iterable[str]) -> set[str] | None:
        """Return the ids of a page that its crowded second has not delivered yet; None to deliver the whole page."""
        crowd = reading.span.crowd
        return None if crowd is None else crowd.new(ids)

    def delivered(self, reading: Reading, shape: PageShape, ids: Iterable[str]) -> None:
        """Record that all contacts of a page are at the target or recorded as refused, or that it was only to count.

        Args:
            reading: as returned by `next`.
            shape: the page's shape.
            ids: Mailchimp's ids of its contacts.
        """
        match reading.request:
            case PageRequest() as request if not reading.only_counts:
                self._take_proof(reading, request, shape, ids)
            case _:
                pass
        self._settle(reading)

    def failed(self, reading: Reading, error: ImporterError) -> None:
        """Abandon a page and its window, unless that is imported and the page is of a gap that a later run can read."""
        span = reading.span
        span.failed = True
        is_left = isinstance(error, StopAudience | StopClient) and span.purpose is Purpose.GAP
        if not reading.is_probe and (not is_left or reading.window in self._again):
            self._states.fail(reading.window, error)
        if self.planned and not span.planned and self._stopped is None:
            # The number of contacts is unknown, but the windows are known.
            span.planned, span.total = True, self.total
            self._request_waiting(span)
        self._settle(reading)

    def split(self, reading: Reading, error: ImporterError) -> bool:
        """Request two halves of a page that is too large for the server; return False if it is too small for that."""
        reading.span.split_error = error
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
            span.split_error = error
            if self._halve(reading, overlap=0, is_suspect=True):
                return True
            if not self._gaps.leave_out(reading, error):
                return False
            self._settle(reading)
            return True
        if not self.planned:  # A page must first show the number of contacts and the time.
            if self._halve(reading, overlap=0, is_suspect=True):
                return True
            if span.open_pages == 1:
                return False
            span.error = error
            self._states.read_by_time(reading)
            self._settle(reading)
            return True
        self._leave_to_time(reading, error)
        return True

    def read_before(self, reading: Reading, error: ImporterError) -> bool:
        """Read by time what offsets like the page's can't reach; return False if its offset is not the cause."""
        request = reading.request
        if self._stopped is not None or not self.planned or reading.span.crowd is not None:
            return False
        if not isinstance(request, PageRequest) or not request.offset:
            return False
        self._reach = min(self._reach, max(self._paging.page_size, request.offset // 2))
        beyond = self._pages.withdraw(lambda it: it.starts_from(self._reach) and it.span.crowd is None)
        for it in (reading, *beyond):
            self._leave_to_time(it, error)
        return True

    def ends_before(self, reading: Reading, error: ImporterError) -> bool:
        """Request nothing after a page without contacts; return False if its offset proves nothing.

        Args:
            reading: as returned by `next`.
            error: the problem of a total that leads there.
        """
        span, request = reading.span, reading.request
        if span.crowd is None:
            return self.read_before(reading, error)
        if self._stopped is not None or not isinstance(request, PageRequest) or not request.offset:
            return False
        behind = self._pages.withdraw(lambda it: it.span is span and it.starts_from(request.offset))
        span.error = error
        for it in (reading, *behind):
            self._settle(it)
        return True

    def stop(self, error: ImporterError) -> None:
        """Drop every page that is not under way, and all that would follow from them."""
        self._stopped = error
        while (reading := self.next()) is not None:
            reading.span.failed = True
            if reading.span.purpose is Purpose.WINDOWS:
                self._states.leave(reading.window)
            self._settle(reading)

    def _halve(self, reading: Reading, *, overlap: int, is_suspect: bool) -> bool:
        added = self._pages.halve(reading, overlap=overlap, is_suspect=is_suspect)
        if added == 0:
            self._settle(reading)
        return added is not None

    def _leave_to_time(self, reading: Reading, error: ImporterError) -> None:
        """Settle a page without a proof: its seconds become a gap."""
        span = reading.span
        span.error = error
        self._states.read_by_time(reading)
        if not span.planned:
            span.planned, span.total = True, self.total
            self._request_waiting(span)
        self._settle(reading)

    def _open_section(self, section: Section) -> None:
        if section.bounds.first > section.bounds.last:
            for offset in section.wanted:
                self._states.mark_imported(self.windows[offset])
            return
        self._open_sections += 1
        first, *waiting = section.wanted
        first_offset = first - section.start
        self._pages.open_span(
            Span(section.bounds, Purpose.WINDOWS, section.start, first_offset=first_offset, waiting=waiting)
        )

    def _read_again(self, window: Window) -> None:
        window.start_over()
        self._again.add(window.offset)
        for time_range in list(window.covered):
            self._gaps.open(time_range, window=window.offset)
        if not window.covered:
            self.reports.append(window)

    def _take_proof(self, reading: Reading, request: PageRequest, shape: PageShape, ids: Iterable[str]) -> None:
        """Record the seconds that a delivered page proves, and the contacts that it shows of a crowded second."""
        span = reading.span
        time_range = covered(request, shape)
        if shape.is_short:
            span.error = PageTooShort(f"Mailchimp counts {shape.total} contacts and shows fewer")
            self._states.read_by_time(reading)
        elif time_range is not None:
            self._prove(reading, time_range)
        elif shape.length and shape.first == shape.last:
            self._gaps.note_crowded(shape.first)
        if span.crowd is not None:
            span.total = shape.total
            span.crowd.seen(list(ids), shape.total, offset=request.offset)
            if span.crowd.is_proved:
                self._prove(reading, span.bounds)

    def _prove(self, reading: Reading, time_range: TimeRange) -> None:
        reading.span.covered.append(time_range)
        if reading.span.purpose is Purpose.WINDOWS:
            self.windows[reading.window].cover([time_range])

    def _request_waiting(self, span: Span) -> None:
        """Request the other windows of a section, from its end down; there is nothing to request beyond its end."""
        waiting, span.waiting = span.waiting, []
        for offset in reversed(waiting):
            if offset - span.window < min(span.total, self._reach):
                self._pages.add(span, window=offset, offset=offset - span.window)
            elif offset - span.window < span.total:
                self.windows[offset].state = WindowState.BY_TIME
            else:
                self._states.mark_imported(self.windows[offset])

    def _settle(self, reading: Reading) -> None:
        span = reading.span
        span.open_pages -= 1
        if span.purpose is Purpose.WINDOWS:
            window = self.windows[reading.window]
            window.open_pages -= 1
            if window.open_pages == 0 and window.state is WindowState.UNDER_WAY:
                self._states.mark_imported(window)
        if span.open_pages == 0:
            self._close(span)
            if self.finished and self._stopped is None:
                self._states.settle_by_time()

    def _close(self, span: Span) -> None:
        """Close a span whose pages are all settled: read what they left, in rounds or by time."""
        is_over = self._stopped is not None
        if span.crowd is not None and not span.failed and missing(span.bounds, span.covered):
            self._pages.open_spans -= is_over or not self._gaps.next_round(span)
            return
        self._pages.open_spans -= 1
        if span.purpose is Purpose.WINDOWS:
            self._open_sections -= 1
            if not self._open_sections and not is_over:
                self._gaps.open_missing(self._bounds)
        elif span.purpose is Purpose.GAP and not is_over and not span.failed:
            self._states.grow(span.window, span.covered)
            self._gaps.open_rest(span)
