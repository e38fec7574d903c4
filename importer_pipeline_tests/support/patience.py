"""Waiting for other processes and threads: long enough on any machine, but not for ever.

Cores are shared with others, so a fixed number of seconds is no measure. Time is counted by the share of a core that
was available; where the network decides how long something takes, no time is counted.
"""

import os
import subprocess
import time
from collections.abc import Callable

SECONDS = 60.0
"""Default limit on a machine without other work: far more than anything takes."""

_LOOK_EVERY_SECONDS = 0.05


def until(
    holds: Callable[[], bool], *, seconds: float = SECONDS, look_every_seconds: float = _LOOK_EVERY_SECONDS
) -> None:
    """Wait until it holds, but not for ever.

    Args:
        holds: the condition.
        seconds: the time it may take on a machine without other work.
        look_every_seconds: longer for a condition that takes long to look at.
    """
    spent, looked_at = 0.0, time.monotonic()
    while not holds():
        assert spent < seconds
        time.sleep(look_every_seconds)
        now = time.monotonic()
        spent += (now - looked_at) / crowding()
        looked_at = now


def ended(process: "subprocess.Popen[bytes] | subprocess.Popen[str]", *, seconds: float = SECONDS) -> int:
    """Wait for a process to end; return its exit code."""
    until(lambda: process.poll() is not None, seconds=seconds)
    return process.wait()


def crowding() -> float:
    """Return the load of each core of this machine; 1 if there are enough cores for all."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
