"""The pages of a walk that wait to be requested, and the spans that they belong to. Pure.

Counts the open pages of spans and windows as pages are added. Stays out: which pages are needed (`walk.py`, `gaps.py`).
"""

from collections import deque
from collections.abc import Callable, Sequence

from importer_pipeline.listing.coverage import ContactRequest, PageRequest, halves
from importer_pipeline.listing.spans import Purpose, Reading, Span, WindowState
from importer_pipeline.listing.window_states import WindowStates


class PageQueue:
    """The pages that wait to be requested.

    Args:
        states: the windows of the walk.
        page_size: contacts of a full page.

    Attributes:
        open_spans: number of spans that have been opened and not closed.
    """

    def __init__(self, states: WindowStates, *, page_size: int) -> None:
        self._states = states
        self._page_size = page_size
        self._ready: deque[Reading] = deque()
        self.open_spans = 0

    def __len__(self) -> int:
        return len(self._ready)

    def next(self) -> Reading | None:
        """Return the page to request next; None if there is none."""
        return self._ready.popleft() if self._ready else None

    def open_span(self, span: Span, *, count: int | None = None, is_suspect: bool = False) -> None:
        """Open a span with a request for its first page, of `count` contacts or a full page."""
        self.open_spans += 1
        window = span.window + span.first_offset
        self.add(span, window=window, offset=span.first_offset, count=count, is_suspect=is_suspect)

    def open_contacts(self, span: Span, contact_ids: Sequence[str]) -> None:
        """Open a span of single contacts, each with a request of its own."""
        span.open_pages = len(contact_ids)
        self.open_spans += bool(contact_ids)
        self._ready.extend(Reading(ContactRequest(contact_id=contact_id), 0, span) for contact_id in contact_ids)

    def open_probe(self, span: Span) -> None:
        """Open a span with a request, before anything else, for a time range that can't have any contacts."""
        span.open_pages = 1
        self.open_spans += 1
        before = span.bounds.last
        request = PageRequest(since=before, before=before, offset=0, count=1)
        self._ready.appendleft(Reading(request, 0, span, is_suspect=True))

    def add(self, span: Span, *, window: int, offset: int, count: int | None = None, is_suspect: bool = False) -> None:
        """Add a page of an open span.

        Args:
            span: the span.
            window: offset of the window that the page is reported under.
            offset: offset of the page within the span.
            count: contacts to request; None for a full page.
            is_suspect: True if it is part of a page that kept failing.
        """
        request = PageRequest(
            since=span.bounds.first - 1,
            before=span.bounds.last,
            offset=offset,
            count=self._page_size if count is None else count,
        )
        span.open_pages += 1
        if span.purpose is Purpose.WINDOWS:
            self._states.by_offset[window].state = WindowState.UNDER_WAY
            self._states.by_offset[window].open_pages += 1
        self._ready.append(Reading(request, window, span, is_suspect))

    def halve(self, reading: Reading, *, overlap: int, is_suspect: bool) -> int | None:
        """Add the halves of a page before all other pages.

        Returns:
            the number of pages added: 0 if the page is beyond the end; None if it is too small to be halved.
        """
        span = reading.span
        if not isinstance(reading.request, PageRequest):
            return None
        parts = halves(reading.request, overlap=0 if span.crowd is not None else overlap)
        if parts is None:
            return None
        if span.crowd is not None and span.planned:
            # A second that is past only loses contacts: there is nothing after its end.
            parts = [part for part in parts if part.offset < span.total]
        if not parts:
            return 0
        span.open_pages += len(parts) - 1
        if span.purpose is Purpose.WINDOWS:
            self._states.by_offset[reading.window].open_pages += 1
        self._ready.extendleft(Reading(part, reading.window, span, is_suspect) for part in reversed(parts))
        return len(parts)

    def withdraw(self, is_meant: Callable[[Reading], bool]) -> list[Reading]:
        """Remove waiting pages, and return them."""
        withdrawn = [it for it in self._ready if is_meant(it)]
        self._ready = deque(it for it in self._ready if not is_meant(it))
        return withdrawn
