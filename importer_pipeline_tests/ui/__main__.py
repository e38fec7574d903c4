"""`python -m importer_pipeline_tests.ui`: the scenarios. Further arguments go to pytest: `-k terminated`.

The exit code is pytest's; 1 if there is no browser.
"""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from importer_pipeline_tests.ui.browser import ChromiumMissing, chromium_path


def main(arguments: Sequence[str]) -> int:
    """Run the scenarios."""
    # A background process ignores SIGINT, and so would Dagster, its child, which is ended by it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        chromium_path()
    except ChromiumMissing as error:
        print(f"make test-ui: {error}", file=sys.stderr)
        return 1
    scenarios = ["-o", "python_files=scenario_*.py", "-p", "importer_pipeline_tests.ui.fixtures"]
    return pytest.main([*scenarios, str(Path(__file__).parent), *arguments])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
