"""Dagster's command line as a child process. Neither it nor its own children outlive the `with` block.

Stays out: what is run, and what its output means (see `first_run` and `look`).
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from importer_pipeline.clients.collection import PATH_VARIABLE

_STOP_SECONDS = 15.0
_GROUP_SECONDS = 3.0
_LOOK_EVERY_SECONDS = 0.05

TOLERANCE_VARIABLE = "IMPORTER_CLOCK_TOLERANCE_MINUTES"
DAYS = "100000"
"""A tolerance for clocks of sandboxes, in minutes."""


def environment(clients_file: Path, *, dagster_home: Path) -> dict[str, str]:
    """Return this process's environment, for a Dagster that keeps its state there and imports these clients.

    A proxy for the outside world can't reach a sandbox on this machine, and the sandbox's clock may be days off.
    """
    direct = ",".join(filter(None, (os.environ.get("no_proxy") or os.environ.get("NO_PROXY"), "127.0.0.1")))
    return {
        **os.environ, "DAGSTER_HOME": str(dagster_home), PATH_VARIABLE: str(clients_file), "no_proxy": direct,
        "NO_PROXY": direct, "PYTHONUNBUFFERED": "1", TOLERANCE_VARIABLE: DAYS,
        # That a command of Dagster is superseded by one of `dg` concerns nobody who did not type it.
        "PYTHONWARNINGS": os.environ.get("PYTHONWARNINGS") or "ignore:Function:FutureWarning",
    }  # fmt: skip


class DagsterChild:
    """`dagster ...` in a process group of its own, so that Ctrl-C reaches us first and we end it in order.

    Args:
        arguments: the arguments of `dagster`.
        variables: its whole environment.
        output: a file for stdout and stderr; None to read them with `lines`.
    """

    def __init__(self, arguments: Sequence[str], *, variables: Mapping[str, str], output: IO[str] | None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "dagster", *arguments], env=dict(variables), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if output is None else output, stderr=subprocess.STDOUT, text=True,
            encoding="utf-8", errors="replace", start_new_session=True,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGINT)
            self._process.wait(_STOP_SECONDS)
            self._ask_the_rest_to_end()
        except subprocess.TimeoutExpired:
            pass
        finally:
            # Also when a second Ctrl-C cuts the waiting short.
            self._signal_group(signal.SIGKILL)
            self._process.wait()
            if self._process.stdout:
                self._process.stdout.close()

    @property
    def exit_code(self) -> int | None:
        """The exit code; None while it runs."""
        return self._process.poll()

    def lines(self) -> Iterator[str]:
        """Yield each line of its output as it is printed, without line ends, until the process has ended."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            yield line.rstrip("\n")
        self._process.wait()

    def _ask_the_rest_to_end(self) -> None:
        """Wait for its own children: they end when they miss it, or on SIGTERM."""
        until = time.monotonic() + _GROUP_SECONDS
        while self._signal_group(signal.SIGTERM) and time.monotonic() < until:
            time.sleep(_LOOK_EVERY_SECONDS)

    def _signal_group(self, number: signal.Signals) -> bool:
        """Send a signal to all processes of the group; return False if none is left."""
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):
            # macOS raises PermissionError for a group whose processes have all ended.
            return False
        return True
