"""What a child process has used of the machine, once it has ended.

Stays out: starting it, and how long to wait for it.
"""

import os
import subprocess
import sys
from dataclasses import dataclass


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
    # Not process.wait(): only this tells what that one child has used.
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    kilobytes = usage.ru_maxrss / 1024 if sys.platform == "darwin" else usage.ru_maxrss
    return Usage(cpu_seconds=usage.ru_utime + usage.ru_stime, peak_megabytes=kilobytes / 1024)
