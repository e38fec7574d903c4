"""Processes that hold locks, for tests that find them held, or free once the holder is killed."""

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def another_process(script: str, *arguments: str, says: str) -> Generator[subprocess.Popen[str]]:
    """Run a process that holds locks until it is told to end or killed.

    Args:
        script: takes the locks, prints a line, and waits for the end of its input.
        arguments: its `sys.argv`.
        says: the expected line.
    """
    command = [sys.executable, "-c", script, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == f"{says}\n"
        yield holder
        holder.kill()
