"""Waiting for what other processes and threads do: long enough on any machine, and not for ever.

A number of seconds says nothing of a machine whose cores are shared with others. So what counts is the share of the
time that a machine without other work would have needed; and where the network decides how long it takes, nothing does.
"""

import os
import subprocess
import time
from collections.abc import Callable

SECONDS = 60.0
"""Patience with anything, on a machine without other work: far more than it takes."""

_LOOK_EVERY_SECONDS = 0.05


def until(holds: Callable[[], bool], *, seconds: float = SECONDS) -> None:
    """Wait for it, but not for ever.

    Args:
        holds: what is waited for.
        seconds: how long it may take on a machine without other work.
    """
    spent, looked_at = 0.0, time.monotonic()
    while not holds():
        assert spent < seconds
        time.sleep(_LOOK_EVERY_SECONDS)
        now = time.monotonic()
        spent += (now - looked_at) / crowding()
        looked_at = now


def ended(process: "subprocess.Popen[bytes] | subprocess.Popen[str]", *, seconds: float = SECONDS) -> int:
    """Wait for a process's end: its exit code."""
    until(lambda: process.poll() is not None, seconds=seconds)
    return process.wait()


def crowding() -> float:
    """Tell how many want each core of this machine; 1 if there are enough cores for all."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
