"""The windows of a walk, each with its state, and what has happened to them since it was last reported. Pure."""

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
        planned: whether that is known, and with it all windows.
        reports: windows that were imported, failed, or grew since this was last emptied by the caller.
    """

    def __init__(self) -> None:
        self.by_offset: dict[int, Window] = {0: Window(0)}
        self.total = 0
        self.planned = False
        self.reports: deque[Window] = deque()

    def plan(self, total: int, paging: Paging) -> None:
        """Make all windows of a listing of so many contacts."""
        self.planned, self.total = True, total
        for offset in window_offsets(total, paging):
            self.by_offset.setdefault(offset, Window(offset))

    @property
    def covered(self) -> list[TimeRange]:
        """Seconds that windows cover which are imported, or are so once what lies around them has been read by time."""
        is_known = (WindowState.IMPORTED, WindowState.BY_TIME)
        return [time_range for it in self.by_offset.values() if it.state in is_known for time_range in it.covered]

    def mark_imported(self, window: Window) -> None:
        """All of its own pages have been delivered."""
        window.state = WindowState.IMPORTED
        self.reports.append(window)

    def fail(self, offset: int, error: ImporterError) -> None:
        """A page that is reported under the window is given up. The first error is the window's."""
        window = self.by_offset[offset]
        if window.state is not WindowState.FAILED:
            window.state, window.error = WindowState.FAILED, error
            self.reports.append(window)

    def leave(self, offset: int) -> None:
        """Nothing more is read of a window: it is missing unless it was imported or failed before."""
        window = self.by_offset[offset]
        if window.state is WindowState.UNDER_WAY:
            window.state = WindowState.MISSING

    def grow(self, offset: int, covered: Iterable[TimeRange]) -> None:
        """Seconds above a window have been read that are reported under it."""
        window, time_ranges = self.by_offset[offset], list(covered)
        window.cover(time_ranges)
        if window.is_imported and time_ranges:
            self.reports.append(window)

    def read_by_time(self, reading: Reading) -> None:
        """A page of a window leads nowhere, so its seconds are read as gaps."""
        window = self.by_offset[reading.window]
        if reading.span.purpose is Purpose.WINDOWS and window.state is WindowState.UNDER_WAY:
            window.state = WindowState.BY_TIME

    def settle_by_time(self) -> None:
        """All has been read: what could not be has failed with the window below, whose seconds reach up to there."""
        for offset in sorted(self.by_offset):
            if self.by_offset[offset].state is WindowState.BY_TIME:
                self.mark_imported(self.by_offset[offset])
