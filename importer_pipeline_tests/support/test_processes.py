"""Processes that tests start can be interrupted, and end with the tests, however busy the machine is."""

import sys
import time
from pathlib import Path

import psutil
import pytest

from importer_pipeline_tests.support import patience
from importer_pipeline_tests.support.patience import until
from importer_pipeline_tests.support.processes import Processes
from importer_pipeline_tests.support.runs import ROOT

IN_BACKGROUND = """
import signal, subprocess, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
{restored}
sys.exit(subprocess.run([sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGINT)"]).returncode)
"""

LEAVES_ONE = """
import subprocess, sys
print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid)
"""


@pytest.mark.parametrize("restored", [True, False], ids=["as we are", "as the shell leaves it"])
def test_what_is_started_in_the_background_can_be_interrupted(tmp_path: Path, restored: bool) -> None:
    ours = (
        "from importer_pipeline_tests.support.processes import let_children_be_interrupted; "
        "let_children_be_interrupted()"
    )
    script = IN_BACKGROUND.format(restored=ours if restored else "")
    with Processes(tmp_path) as processes:
        code = processes.run("background", [sys.executable, "-c", script], {"PYTHONPATH": str(ROOT)})
    assert (code != 0) is restored


def test_leftovers_of_a_process_end_with_the_block(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        assert processes.run("parent", [sys.executable, "-c", LEAVES_ONE], {}) == 0
        left = int((tmp_path / "parent.txt").read_text())
        assert psutil.pid_exists(left)
    until(lambda: not psutil.pid_exists(left) or psutil.Process(left).status() == psutil.STATUS_ZOMBIE)


def test_patience_lasts_longer_on_a_busy_machine_but_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def seconds() -> float:
        began = time.monotonic()
        with pytest.raises(AssertionError):
            until(lambda: False, seconds=0.2)
        return time.monotonic() - began

    monkeypatch.setattr("os.getloadavg", lambda: (0.0, 0.0, 0.0))
    assert seconds() >= 0.2
    monkeypatch.setattr("os.getloadavg", lambda: (5.0 * (patience.os.cpu_count() or 1), 0.0, 0.0))
    assert seconds() >= 1.0
