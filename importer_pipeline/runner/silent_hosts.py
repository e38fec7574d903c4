"""Notes the first failure of each host that does not answer, for the log: the retries of a request take a minute."""

import threading

from importer_pipeline.errors import ImporterError, Unavailable

_MAX_NAMED = 10
"""Hosts that are named in one import: if more do not answer, it is not them."""


class SilentHosts:
    """Notes the hosts that do not answer. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._named: set[str] = set()
        self._lines: list[str] = []

    def note(self, host: str, client: str, error: ImporterError) -> None:
        """Note the failure of a request of a client, if it is the first of that host for want of an answer."""
        if not isinstance(error, Unavailable):
            return
        with self._lock:
            if host in self._named or len(self._named) >= _MAX_NAMED:
                return
            self._named.add(host)
            self._lines.append(f"{client}: {error} ({host}). It is requested again")

    def take(self) -> list[str]:
        """Return the lines since the last call."""
        with self._lock:
            lines, self._lines = self._lines, []
        return lines
