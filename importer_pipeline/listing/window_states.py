"""The windows of a walk, each with its state, and the changes that have not been reported yet. Pure."""

from collections import deque
from collections.abc import Iterable

from importer_pipeline.errors import ImporterError
from importer_pipeline.listing.coverage import Paging, TimeRange, window_offsets
from importer_pipeline.listing.spans import Purpose, Reading, Window, WindowState


class WindowStates:
    """The windows of one walk.

    Attributes:
        by_offset: the windows, as far as they are known.
        total: contacts of the listing when its first page was read.
        planned: True if that is known, and with it all windows.
        reports: windows that were imported, failed, or grew since the caller last emptied this.
    """

    def __init__(self) -> None:
        self.by_offset: dict[int, Window] = {0: Window(0)}
        self.total = 0
        self.planned = False
        self.reports: deque[Window] = deque()

    def plan(self, total: int, paging: Paging) -> None:
        """Create all windows of a listing with this number of contacts."""
        self.planned, self.total = True, total
        for offset in window_offsets(total, paging):
            self.by_offset.setdefault(offset, Window(offset))

    @property
    def covered(self) -> list[TimeRange]:
        """Seconds covered by windows that are imported, or will be once the gaps around them have been read."""
        is_known = (WindowState.IMPORTED, WindowState.BY_TIME)
        return [time_range for it in self.by_offset.values() if it.state in is_known for time_range in it.covered]

    def mark_imported(self, window: Window) -> None:
        """Note that all of its own pages have been delivered."""
        window.state = WindowState.IMPORTED
        self.reports.append(window)

    def fail(self, offset: int, error: ImporterError) -> None:
        """Note that a page reported under the window is abandoned. The first error is the window's."""
        window = self.by_offset[offset]
        if window.state is not WindowState.FAILED:
            window.state, window.error = WindowState.FAILED, error
            self.reports.append(window)

    def leave(self, offset: int) -> None:
        """Stop reading a window: it is missing unless it was imported or failed before."""
        window = self.by_offset[offset]
        if window.state is WindowState.UNDER_WAY:
            window.state = WindowState.MISSING

    def grow(self, offset: int, covered: Iterable[TimeRange]) -> None:
        """Add seconds above a window that are reported under it."""
        window, time_ranges = self.by_offset[offset], list(covered)
        window.cover(time_ranges)
        if window.is_imported and time_ranges:
            self.reports.append(window)

    def read_by_time(self, reading: Reading) -> None:
        """Note that a page of a window proves nothing, so that its seconds are read as gaps."""
        window = self.by_offset[reading.window]
        if reading.span.purpose is Purpose.WINDOWS and window.state is WindowState.UNDER_WAY:
            window.state = WindowState.BY_TIME

    def settle_by_time(self) -> None:
        """Mark the windows that were read by time as imported: what could not be read failed with the window below."""
        for offset in sorted(self.by_offset):
            if self.by_offset[offset].state is WindowState.BY_TIME:
                self.mark_imported(self.by_offset[offset])
