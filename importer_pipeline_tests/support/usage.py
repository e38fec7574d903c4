"""What a child process has used of the machine, once it has ended.

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
    """What a process and those of its children for which it waited have used.

    Attributes:
        cpu_seconds: the interpreter's start included.
        peak_megabytes: the most memory that one of them had in RAM at once.
    """

    cpu_seconds: float
    peak_megabytes: float


def wait_for(process: "subprocess.Popen[bytes]") -> Usage:
    """Wait until a child has ended, and set its `returncode`."""
    kilobytes = 0
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        kilobytes = max(kilobytes, _peak_kilobytes(process.pid))
        time.sleep(_LOOK_EVERY_SECONDS)
    # Not process.wait(): only this tells what that one child has used.
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    # What the system says in the end counts the memory of the parent too, as it was when the child was made.
    kilobytes = kilobytes or (usage.ru_maxrss / 1024 if sys.platform == "darwin" else usage.ru_maxrss)
    return Usage(cpu_seconds=usage.ru_utime + usage.ru_stime, peak_megabytes=kilobytes / 1024)


def _peak_kilobytes(pid: int) -> int:
    """What Linux says of a process; 0 elsewhere, and of one that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)
