"""The progress of a running sync: a bar on a terminal, a line every few seconds elsewhere.

Stays out: running the sync (`sync.py`).
"""

import shutil
import time
from collections import deque
from collections.abc import Callable
from typing import TextIO

import click

from importer_pipeline.engine.outcomes import AudienceDone, Progress

BAR_SECONDS = 0.5
LINE_SECONDS = 10.0

_RATE_SECONDS = 20.0
"""How far back the rate looks: a page takes seconds, so that a shorter time would make it jump."""

_MIN_BAR, _MAX_BAR = 10, 40


class ProgressPrinter:
    """Prints what happens in a sync: a watcher, as `defs.watching` describes one.

    Args:
        stream: where to; a terminal gets a bar, anything else lines.
        clock: the monotonic clock, in seconds.

    Attributes:
        done: the audiences that have ended, in order.
    """

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.done: list[AudienceDone] = []
        self._stream = stream
        self._clock = clock
        self._has_bar = stream.isatty()
        self._bar_shown = False
        self._printed_at = clock()
        self._rates = _Rate()

    def progressed(self, read: Callable[[], Progress]) -> None:
        """Print the progress, if it is time."""
        now = self._clock()
        if now - self._printed_at < (BAR_SECONDS if self._has_bar else LINE_SECONDS):
            return
        self._printed_at, progress = now, read()
        rate = self._rates.after(progress.accepted, now)
        if self._has_bar:
            width = shutil.get_terminal_size().columns - 1
            self._write(f"\r\x1b[K{bar(progress, contacts_per_second=rate, width=width)}")
            self._bar_shown = True
        else:
            self._write(f"{figures(progress, contacts_per_second=rate)}\n")

    def said(self, line: str) -> None:
        """Print a line above the bar."""
        self.close()
        self._write(f"{line}\n")

    def ended(self, done: AudienceDone) -> None:
        """Keep the end of an audience for the summary."""
        self.done.append(done)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar_shown:
            self._write("\r\x1b[K")
            self._bar_shown = False

    def _write(self, text: str) -> None:
        click.echo(text, file=self._stream, nl=False)
        self._stream.flush()


class _Rate:
    """Contacts a second over the last seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def after(self, accepted: int, now: float) -> float:
        # Accounts that were busy follow in an import of their own, which counts from 0.
        if self._seen and accepted < self._seen[-1][1]:
            self._seen.clear()
        self._seen.append((now, accepted))
        while self._seen[0][0] < now - _RATE_SECONDS:
            self._seen.popleft()
        began, before = self._seen[0]
        return (accepted - before) / (now - began) if now > began else 0.0


def bar(progress: Progress, *, contacts_per_second: float, width: int) -> str:
    """Return the progress with a bar before it, in one line of at most `width` characters."""
    said = figures(progress, contacts_per_second=contacts_per_second)
    room = min(width - len(said) - 3, _MAX_BAR)
    if room < _MIN_BAR:
        return said[:width]
    share = min(progress.accepted / progress.contacts, 1.0) if progress.contacts else 0.0
    filled = int(share * room)
    return f"[{'#' * filled}{'-' * (room - filled)}] {said}"


def figures(progress: Progress, *, contacts_per_second: float) -> str:
    """Return the progress in words: contacts, audiences, rate, and the time left if it is known."""
    done = progress.audiences - progress.open_audiences
    said = f"{progress.accepted:,} of {progress.contacts:,} contacts, {done} of {progress.audiences} audiences"
    if contacts_per_second < 0.5:
        return said
    left = max(progress.contacts - progress.accepted, 0) / contacts_per_second
    return f"{said}, {contacts_per_second:,.0f} a second, {clock_time(left)} left"


def clock_time(seconds: float) -> str:
    """Return a duration as `0:07`, `12:40` or `3:05:00`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
