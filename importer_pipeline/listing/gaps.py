"""Gaps of a walk: seconds that no window proved, read by time until nothing of them is missing. Pure.

A gap is read like a listing of its own. The seconds that its pages do not prove become gaps again. A gap whose pages
keep failing is cut into slices, down to the second. A second that fills a page is read in rounds (see
`crowded_second`), and its pages are halved down to the contact where they fail: a contact that can't be read is left
out and reported, and all others of the second are delivered.
"""

from collections import Counter, deque
from collections.abc import Sequence

from importer_pipeline.errors import ImporterError, SecondTooCrowded, TriesUsedUp
from importer_pipeline.listing.coverage import Paging, TimeRange, isolate, missing, slices, timestamp
from importer_pipeline.listing.crowded_second import CrowdedSecond
from importer_pipeline.listing.page_queue import PageQueue
from importer_pipeline.listing.spans import (
    Purpose,
    Reading,
    Span,
    Unreadable,
    WindowState,
    reserved_ranges,
    window_below,
)
from importer_pipeline.listing.window_states import WindowStates


class Gaps:
    """The gaps of one walk.

    Args:
        states: the windows that gaps are reported under.
        pages: the pages of the walk that wait to be requested.
        paging: page size, and how often a failing time range is cut.

    Attributes:
        unreadable: contacts that can't be read, since the caller last emptied this.
    """

    def __init__(self, states: WindowStates, pages: PageQueue, *, paging: Paging) -> None:
        self._states = states
        self._pages = pages
        self._paging = paging
        self._crowded: set[int] = set()
        self._slices: Counter[int] = Counter()
        self.unreadable: deque[Unreadable] = deque()

    def open(self, bounds: TimeRange, *, window: int, is_suspect: bool = False) -> None:
        """Read a gap, and report it under the window with that offset."""
        crowd = CrowdedSecond() if bounds.first == bounds.last else None
        self._pages.open_span(Span(bounds, Purpose.GAP, window, crowd=crowd), is_suspect=is_suspect)

    def open_missing(self, bounds: TimeRange) -> None:
        """Read what is missing between the windows that are imported, each gap under the window below it."""
        windows = self._states.by_offset
        for gap in missing(bounds, [*self._states.covered, *reserved_ranges(windows, bounds=bounds)]):
            window = window_below(windows, gap)
            self._open_parts([gap], window=window, is_suspect=windows[window].state is WindowState.BY_TIME)

    def note_crowded(self, second: int) -> None:
        """Remember a second that fills a page: it is read alone."""
        self._crowded.add(second)

    def request_round(self, span: Span, *, first_offset: int) -> None:
        """Request all pages of a crowded second from an offset on."""
        for offset in range(first_offset, span.total, self._paging.page_size):
            self._pages.add(span, window=span.window, offset=offset)

    def next_round(self, span: Span) -> bool:
        """Read a crowded second once more; return False if another round would show nothing new."""
        unseen = None if span.crowd is None else span.crowd.unseen
        if unseen is not None and span.has_found_unreadable(unseen):
            self._report_unreadable(span, unseen, span.unreadable[0])
        elif unseen is None or (span.error is not None and span.round > 1):
            self._fail(span, span.bounds, span.error or span.unreadable[0])
        elif span.round < self._paging.rounds:
            span.round += 1
            span.error = None
            span.unreadable.clear()
            if span.crowd is not None and span.crowd.is_empty:
                span.planned = False  # Its first page shows once more whether there is anything behind.
                self._pages.add(span, window=span.window, offset=0)
            else:
                self.request_round(span, first_offset=0)
            return True
        elif span.split_error is not None and unseen <= self._paging.max_unreadable:
            # The order differs at each request, so the contacts that make pages fail may never be alone on one.
            self._report_unreadable(span, unseen, span.split_error)
        else:
            self._states.fail(
                span.window,
                SecondTooCrowded(
                    f"{span.total} contacts share the second {timestamp(span.bounds.first)} and came in another order at "
                    f"each of {span.round} rounds",
                    remedy="try this window again at a quieter hour",
                ),
            )
        return False

    def open_rest(self, span: Span) -> None:
        """Read the seconds that the pages of a gap did not prove; in slices if its pages fail."""
        rest = missing(span.bounds, span.covered)
        if span.error is None:
            self._open_parts(rest, window=span.window)
            return
        for gap in slices(span.bounds) if rest == [span.bounds] else rest:
            self._slices[span.window] += 1
            if self._slices[span.window] > self._paging.slices:
                self._fail(span, gap, span.error)
                return
            self.open(gap, window=span.window, is_suspect=True)

    def leave_out(self, reading: Reading, error: ImporterError) -> bool:
        """Leave out a single contact that can't be read; return False if too many of its second have been left out."""
        if len(reading.span.unreadable) >= self._paging.max_unreadable:
            return False
        reading.span.unreadable.append(error)
        return True

    def _open_parts(self, gaps: Sequence[TimeRange], *, window: int, is_suspect: bool = False) -> None:
        for gap in gaps:
            for part in isolate(gap, self._crowded):
                self.open(part, window=window, is_suspect=is_suspect)

    def _report_unreadable(self, span: Span, unseen: int, error: ImporterError) -> None:
        """Count contacts of a second that can't be read as refused: all others of it have been delivered."""
        ids = [*sorted(span.unreadable_ids), *[""] * unseen][:unseen]
        at = timestamp(span.bounds.first)
        self.unreadable.append(
            Unreadable(
                window=span.window,
                second=span.bounds.first,
                contact_ids=tuple(ids),
                reason=f"Mailchimp does not send this contact, which changed at {at}: {error.problem}",
            )
        )
        window = self._states.by_offset[span.window]
        window.read += unseen
        window.refused += unseen
        span.covered.append(span.bounds)
        self._states.grow(span.window, span.covered)

    def _fail(self, span: Span, gap: TimeRange, error: ImporterError) -> None:
        self._states.fail(
            span.window,
            TriesUsedUp(
                f"what changed from {timestamp(gap.first)} to {timestamp(gap.last)} can't be read whole ({error.problem})",
                remedy=error.remedy or "it is tried again by itself; if it stays, ask Mailchimp support",
            ),
        )
