"""The command line as it is started: its help, its exit codes, what it loads."""

import subprocess
import sys
from pathlib import Path

import pytest

from importer_pipeline_tests.cli.commands import importer
from importer_pipeline_tests.support.processes import neutral_environment
from importer_pipeline_tests.support.runs import ROOT, Finished


def command(*arguments: str, folder: Path, said: str = "", **variables: str) -> Finished:
    """Run `python -m importer_pipeline ...`."""
    done = subprocess.run(
        [sys.executable, "-m", "importer_pipeline", *arguments], cwd=folder, input=said, text=True, check=False,
        env=neutral_environment() | {"PYTHONPATH": str(ROOT), **variables}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    return Finished(code=done.returncode, output=done.stdout)


def loaded(code: str) -> set[str]:
    """Return which heavy libraries a fresh interpreter has loaded after some code."""
    code = f"import sys; {code}; print(*({{'dagster', 'requests', 'pydantic', 'yaml'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_help_teaches_with_examples(tmp_path: Path) -> None:
    helped = command("--help", folder=tmp_path)
    assert helped.code == 0
    assert "importer check                      are all keys" in helped.output
    assert "Exit codes: 0 all is well" in helped.output


def test_the_help_loads_nothing_heavy() -> None:
    """So it starts within half a second, which is no good test on a busy machine."""
    assert loaded("import importer_pipeline.cli.main") == set()


@pytest.mark.parametrize("module", ["check", "preview", "discover", "init"])
def test_what_asks_only_mailchimp_is_loaded_without_dagster(module: str) -> None:
    assert "dagster" not in loaded(f"import importer_pipeline.cli.{module}")


def test_a_mistake_ends_a_process_with_a_message(tmp_path: Path) -> None:
    failed = command("check", folder=tmp_path)
    assert (failed.code, failed.output.count("\n")) == (2, 2)
    assert f"there is no clients file at {tmp_path / 'clients.yaml'}" in failed.output


def test_a_misspelt_command_is_a_usage_error() -> None:
    printed = importer("chek")
    assert printed.code == 2
    assert "No such command 'chek'" in printed.err
