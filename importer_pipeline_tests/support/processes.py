"""Processes that tests start: each has a process group with all that it starts, which ends with the test."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self


class Processes:
    """Processes; neither they nor what they start outlives the `with` block, even if they ended before.

    Args:
        folder: their working directory, which gets their output, for analysing failures.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in list(self._started):
            self.kill(name)

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start a process; its output is appended to the file `<name>.txt`."""
        if name in self._started:
            self.kill(name)
        with (self._folder / f"{name}.txt").open("ab") as output:
            process = subprocess.Popen(
                command, cwd=self._folder, env=dict(environment), stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, start_new_session=True,
            )  # fmt: skip
        self._started[name] = process
        return process

    def run(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> int:
        """Run a process to its end, however long the network takes; return its exit code."""
        return self.start(name, command, environment).wait()

    def kill(self, name: str) -> None:
        """Kill a process (`kill -9`) and all that it has started, as when its container is killed."""
        end_group(self._started.pop(name))

    def is_up(self, name: str) -> bool:
        """Return whether a process is running."""
        return self._started[name].poll() is None


def end_group(process: "subprocess.Popen[bytes]") -> None:
    """Kill the remaining group of a process that was started as the first of its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def let_children_be_interrupted() -> None:
    """Let child processes react to Ctrl-C, which a shell turns off for background jobs and their children."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def neutral_environment() -> dict[str, str]:
    """Return this process's environment without Dagster's and the importer's variables."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("DAGSTER_", "IMPORTER_"))}
