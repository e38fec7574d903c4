"""Processes that tests start: each with all that it starts a group of its own, which is gone when the test is over."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self


class Processes:
    """Processes, none of which outlives the `with` block, nor does what they have started, though they themselves had ended.

    Args:
        folder: where they are started, and where their output goes, for who looks for the reason of a failure.
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
        """Start one; what it prints is added to the file `<name>.txt`."""
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
        """Run one to its end, however long the network lets it take: its exit code."""
        return self.start(name, command, environment).wait()

    def kill(self, name: str) -> None:
        """`kill -9` for it and all that it has started, as when its container is killed."""
        end_group(self._started.pop(name))

    def is_up(self, name: str) -> bool:
        """Whether it still runs."""
        return self._started[name].poll() is None


def end_group(process: "subprocess.Popen[bytes]") -> None:
    """Kill what is left of the group of a process that was started as the first of its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def let_children_be_interrupted() -> None:
    """Undo what a shell does to what it starts in the background: it ignores Ctrl-C, and so does all that is started there."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
