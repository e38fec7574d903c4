"""The wheel, in an empty environment: `make package` does the same by itself."""

from pathlib import Path

from importer_pipeline_tests.check_package import check


def test_the_wheel_installs_imports_and_loads(tmp_path: Path) -> None:
    check(tmp_path)
