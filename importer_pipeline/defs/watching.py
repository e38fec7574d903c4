"""Who watches the imports of this process: the command line while it runs a job itself, else nobody.

The log of a run is for machines and for later; a watcher is told the same as it happens, without Dagster in between. Stays
out: what is shown (`cli/progress.py`).
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from importer_pipeline.engine.outcomes import AudienceDone, Progress


class Watcher(Protocol):
    """What is told of an import, in the thread of its step."""

    def progressed(self, read: Callable[[], Progress]) -> None:
        """Take note that there may be progress, at least every half second; `read` counts it, which takes time."""
        ...

    def said(self, line: str) -> None:
        """Take a line that tells why nothing moves, or what is done differently from the last run."""
        ...

    def ended(self, done: AudienceDone) -> None:
        """Take the end of an audience."""
        ...


class _Nobody:
    def progressed(self, read: Callable[[], Progress]) -> None:
        pass

    def said(self, line: str) -> None:
        pass

    def ended(self, done: AudienceDone) -> None:
        pass


_NOBODY = _Nobody()
_WATCHER: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


def watcher() -> Watcher:
    """Return who watches the imports of this thread."""
    return _WATCHER.get() or _NOBODY


@contextmanager
def watched_by(watching: Watcher) -> Generator[None]:
    """Let somebody watch the imports of this thread."""
    token = _WATCHER.set(watching)
    try:
        yield
    finally:
        _WATCHER.reset(token)
