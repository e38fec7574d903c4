"""Processes that hold locks, for who is to find them held, or free once their holder is killed."""

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def another_process(script: str, *arguments: str, says: str) -> Generator[subprocess.Popen[str]]:
    """A process that holds locks until it is told to end, or killed.

    Args:
        script: takes them, prints what it has, and waits for the end of its input.
        arguments: what it finds in `sys.argv`.
        says: what it is to print.
    """
    command = [sys.executable, "-c", script, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == f"{says}\n"
        yield holder
        holder.kill()
