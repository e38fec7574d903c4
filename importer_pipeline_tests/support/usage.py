"""CPU and memory that a child process has used, once it has ended.

Stays out: starting it, and how long to wait for it.
"""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

_LOOK_EVERY_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """CPU and memory of a process and those of its children for which it waited.

    Attributes:
        cpu_seconds: the interpreter's start included.
        peak_megabytes: maximum memory that one of them had in RAM at once.
    """

    cpu_seconds: float
    peak_megabytes: float


def wait_for(process: "subprocess.Popen[bytes]") -> Usage:
    """Wait until a child has ended, and set its `returncode`."""
    kilobytes = 0
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        kilobytes = max(kilobytes, _peak_kilobytes(process.pid))
        time.sleep(_LOOK_EVERY_SECONDS)
    # Not process.wait(): only this reports the usage of that one child.
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    # The system's final figure includes the parent's memory at the time of the fork.
    kilobytes = kilobytes or (usage.ru_maxrss / 1024 if sys.platform == "darwin" else usage.ru_maxrss)
    return Usage(cpu_seconds=usage.ru_utime + usage.ru_stime, peak_megabytes=kilobytes / 1024)


def _peak_kilobytes(pid: int) -> int:
    """Read Linux's figure for a process; 0 elsewhere, and for one that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)
