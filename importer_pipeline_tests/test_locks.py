"""One sync at a time per account, across processes."""

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from importer_pipeline.errors import LockFolderUnusable
from importer_pipeline.locks import AccountLocks

HOLD = """
import sys, pathlib
from importer_pipeline.locks import AccountLocks
locks = AccountLocks(pathlib.Path(sys.argv[1]))
print(sorted(locks.take(sys.argv[2:])), flush=True)
sys.stdin.read()
"""


@contextmanager
def another_process(folder: Path, *accounts: str) -> Generator[subprocess.Popen[str]]:
    """A process that holds the accounts until it is told to end, or killed."""
    command = [sys.executable, "-c", HOLD, str(folder), *accounts]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == f"{sorted(accounts)}\n"
        yield holder
        holder.kill()


def test_free_accounts_are_taken_and_busy_ones_are_not_waited_for(tmp_path: Path) -> None:
    with another_process(tmp_path, "acme"):
        assert AccountLocks(tmp_path).take(["acme", "globex"]) == {"globex"}


def test_an_account_is_free_once_its_holder_is_killed(tmp_path: Path) -> None:
    locks = AccountLocks(tmp_path)
    with another_process(tmp_path, "acme") as holder:
        assert locks.take(["acme"]) == set()
        holder.kill()
        holder.wait()
        assert locks.take(["acme"]) == {"acme"}


def test_what_is_held_already_is_taken_again(tmp_path: Path) -> None:
    locks = AccountLocks(tmp_path)
    locks.take(["acme"])
    assert locks.take(["acme"]) == {"acme"}


@pytest.mark.parametrize("names", [["acme"], ["acme", "globex"]], ids=["the only one", "one of two"])
def test_a_released_account_is_free_for_others(tmp_path: Path, names: list[str]) -> None:
    ours, theirs = AccountLocks(tmp_path), AccountLocks(tmp_path)
    ours.take(names)
    assert theirs.take(names) == set()
    ours.release("acme")
    assert theirs.take(names) == {"acme"}


def test_the_folder_is_for_its_user_only(tmp_path: Path) -> None:
    AccountLocks(tmp_path / "locks").take(["acme"])
    assert (tmp_path / "locks").stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_used_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LockFolderUnusable, match=r"file for lock files can't be used .*: let this user write there"):
        AccountLocks(tmp_path / "file").take(["acme"])


def test_names_of_accounts_are_not_names_of_files(tmp_path: Path) -> None:
    assert AccountLocks(tmp_path).take(["https://us6.api.mailchimp.com/3.0 acme"])
    assert all("acme" not in path.name for path in tmp_path.iterdir())
