"""One sync at a time per account, and run liveness, across processes."""

import gc
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from importer_pipeline.errors import LocksLost, LocksUnusable
from importer_pipeline.locks.files import FileAccountLocks, FileRunLocks
from importer_pipeline.locks.protocol import digest
from importer_pipeline_tests.support.holders import another_process

STRANGER = 54321
"""ID of another user and group."""

HOLD = """
import sys, pathlib
from importer_pipeline.locks.files import FileAccountLocks
locks = FileAccountLocks(pathlib.Path(sys.argv[1]))
print(sorted(locks.take(sys.argv[2:])), flush=True)
sys.stdin.read()
"""


def holder_of(folder: Path, *accounts: str) -> AbstractContextManager[subprocess.Popen[str]]:
    """Return a process that holds the accounts."""
    return another_process(HOLD, str(folder), *accounts, says=f"{sorted(accounts)}")


def test_free_accounts_are_locked_without_waiting_for_busy_ones(tmp_path: Path) -> None:
    with holder_of(tmp_path, "acme"):
        assert FileAccountLocks(tmp_path).take(["acme", "globex"]) == {"globex"}


def test_an_account_is_free_once_its_holder_is_killed(tmp_path: Path) -> None:
    locks = FileAccountLocks(tmp_path)
    with holder_of(tmp_path, "acme") as holder:
        assert locks.take(["acme"]) == set()
        holder.kill()
        holder.wait()
        assert locks.take(["acme"]) == {"acme"}


def test_a_held_account_can_be_taken_again(tmp_path: Path) -> None:
    locks = FileAccountLocks(tmp_path)
    locks.take(["acme"])
    assert locks.take(["acme"]) == {"acme"}


@pytest.mark.parametrize("names", [["acme"], ["acme", "globex"]], ids=["the only one", "one of two"])
def test_a_released_account_is_free_for_others(tmp_path: Path, names: list[str]) -> None:
    ours, theirs = FileAccountLocks(tmp_path), FileAccountLocks(tmp_path)
    ours.take(names)
    assert theirs.take(names) == set()
    ours.release("acme")
    assert theirs.take(names) == {"acme"}


def test_the_folder_is_for_its_user_only(tmp_path: Path) -> None:
    FileAccountLocks(tmp_path / "locks").take(["acme"])
    assert (tmp_path / "locks").stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_used_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LocksUnusable, match=r"file for lock files can't be used .*: let this user write there"):
        FileAccountLocks(tmp_path / "file").take(["acme"])


def test_names_of_accounts_are_not_names_of_files(tmp_path: Path) -> None:
    assert FileAccountLocks(tmp_path).take(["https://us6.api.mailchimp.com/3.0 acme"])
    assert all("acme" not in path.name for path in tmp_path.iterdir())


HOLD_RUN = """
import sys, pathlib
from importer_pipeline.locks.files import FileRunLocks
print(FileRunLocks(pathlib.Path(sys.argv[1])).hold(sys.argv[2]), flush=True)
sys.stdin.read()
"""


def run_of_another_process(folder: Path, run_id: str) -> AbstractContextManager[subprocess.Popen[str]]:
    """Return a process that has the run's lock."""
    return another_process(HOLD_RUN, str(folder), run_id, says="True")


def is_free(folder: Path, run_id: str) -> bool:
    with FileRunLocks(folder).if_free(run_id) as free:
        return free


def remove_old_now(folder: Path) -> None:
    """Remove old files as if that had not been done within the last hour."""
    (folder / "runs" / "cleaned").unlink(missing_ok=True)
    FileRunLocks(folder).remove_old()


def files(folder: Path) -> list[Path]:
    return sorted((folder / "runs").glob("*.lock"))


def test_a_run_s_lock_is_free_once_its_process_is_killed(tmp_path: Path) -> None:
    with run_of_another_process(tmp_path, "run") as holder:
        assert not is_free(tmp_path, "run")
        holder.kill()
        holder.wait()
        assert is_free(tmp_path, "run")


def test_a_runs_lock_is_held_until_the_process_exits(tmp_path: Path) -> None:
    """Whatever becomes of the object that took it."""
    assert FileRunLocks(tmp_path).hold("run")
    gc.collect()
    assert not is_free(tmp_path, "run")


def test_a_run_s_lock_that_is_held_is_not_waited_for(tmp_path: Path) -> None:
    FileRunLocks(tmp_path).hold("ours")
    with run_of_another_process(tmp_path, "theirs"):
        assert [FileRunLocks(tmp_path).hold(run_id) for run_id in ("ours", "theirs", "new")] == [False, False, True]


def test_while_one_looks_at_a_dead_run_no_other_finds_it_free(tmp_path: Path) -> None:
    with FileRunLocks(tmp_path).if_free("run") as free:
        assert (free, is_free(tmp_path, "run"), is_free(tmp_path, "other")) == (True, False, True)
    assert is_free(tmp_path, "run")


def test_all_objects_of_a_folder_mark_a_run_alike(tmp_path: Path) -> None:
    """Even if several of them are the first at the same moment."""
    together = threading.Barrier(8)

    def marks(_: int) -> list[str]:
        found: list[str] = []
        for number in range(25):
            together.wait()
            found.append(FileRunLocks(tmp_path / str(number)).mark("run"))
        return found

    with ThreadPoolExecutor(8) as threads:
        (agreed,) = set(map(tuple, threads.map(marks, range(8))))
    assert agreed == tuple(FileRunLocks(tmp_path / str(number)).mark("run") for number in range(25))


def test_a_mark_is_of_one_run_in_one_folder_on_one_machine(tmp_path: Path) -> None:
    mark = FileRunLocks(tmp_path / "here", machine="one").mark("run")
    shutil.copytree(tmp_path / "here", tmp_path / "copy")
    assert FileRunLocks(tmp_path / "copy", machine="one").mark("run") == mark
    others = {
        FileRunLocks(tmp_path / "here", machine="one").mark("other run"),
        FileRunLocks(tmp_path / "there", machine="one").mark("run"),
        FileRunLocks(tmp_path / "copy", machine="another").mark("run"),
    }
    shutil.rmtree(tmp_path / "here")
    others.add(FileRunLocks(tmp_path / "here", machine="one").mark("run"))
    assert len(others - {mark}) == 4


def test_only_files_of_runs_that_ended_long_ago_are_removed(tmp_path: Path) -> None:
    locks = FileRunLocks(tmp_path)
    assert is_free(tmp_path, "over")
    assert locks.hold("long")
    old = files(tmp_path)
    for path in old:
        os.utime(path, (0, 0))
    assert is_free(tmp_path, "just over")
    locks.remove_old()
    assert len(set(files(tmp_path)) & set(old)) == 1
    assert len(files(tmp_path)) == 2
    assert not is_free(tmp_path, "long")


def test_old_files_are_looked_for_once_an_hour(tmp_path: Path) -> None:
    """Otherwise, a backfill of thousands of runs looks through thousands of files in each."""
    locks = FileRunLocks(tmp_path)
    for run in ("first", "second"):
        locks.remove_old()
        assert is_free(tmp_path, run)
        for path in files(tmp_path):
            os.utime(path, (0, 0))
    assert len(files(tmp_path)) == 2
    remove_old_now(tmp_path)
    assert files(tmp_path) == []


def test_runs_that_start_during_a_cleanup_keep_their_locks(tmp_path: Path) -> None:
    done = threading.Event()

    def remove() -> None:
        while not done.is_set():
            remove_old_now(tmp_path)

    with ThreadPoolExecutor(2) as threads:
        removers = [threads.submit(remove) for _ in range(2)]
        try:
            held = [FileRunLocks(tmp_path).hold(f"run {number}") for number in range(50)]
        finally:
            done.set()
        for remover in removers:
            remover.result()
    assert held == [True] * 50
    assert not any(is_free(tmp_path, f"run {number}") for number in range(50))


def test_old_files_may_be_removed_by_several_at_once(tmp_path: Path) -> None:
    for number in range(100):
        is_free(tmp_path, f"run {number}")
    for path in files(tmp_path):
        os.utime(path, (0, 0))
    with ThreadPoolExecutor(4) as threads:
        for removed in [threads.submit(remove_old_now, tmp_path) for _ in range(4)]:
            removed.result()
    assert files(tmp_path) == []


def test_the_folders_of_runs_are_for_their_user_only(tmp_path: Path) -> None:
    FileRunLocks(tmp_path / "locks").hold("run")
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "locks", tmp_path / "locks" / "runs")] == [0o700] * 2


USES: dict[str, Callable[[FileRunLocks], object]] = {
    "hold": lambda locks: locks.hold("run"),
    "look": lambda locks: locks.if_free("run").__enter__(),
    "mark": lambda locks: locks.mark("run"),
    "remove": lambda locks: locks.remove_old(),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_an_unusable_folder_for_runs_is_named_with_the_remedy(
    tmp_path: Path, use: Callable[[FileRunLocks], object]
) -> None:
    (tmp_path / "runs").touch()
    with pytest.raises(LocksUnusable, match=r"runs for lock files can't be used .*: let this user write there"):
        use(FileRunLocks(tmp_path))


def test_ids_of_runs_are_not_names_of_files(tmp_path: Path) -> None:
    assert FileRunLocks(tmp_path).hold("../../outside")
    assert len(files(tmp_path)) == 1


def opened(path: Path, mode: int, *, owner: int = 0) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(mode)
    if owner:
        os.chown(path, owner, owner)
    return path


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o702, 0o770])
def test_a_folder_that_others_can_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    """The remedy is shown."""
    folder = opened(tmp_path / "locks", mode)
    os.chown(folder, os.geteuid(), STRANGER)
    with pytest.raises(
        LocksUnusable, match=r"other users can change the folder .* \(other users can write to .*locks\).*: remove"
    ):
        FileAccountLocks(folder).take(["acme"])
    with pytest.raises(LocksUnusable, match="other users can change the folder"):
        FileRunLocks(folder).hold("run")


def test_a_folder_that_others_could_swap_is_refused(tmp_path: Path) -> None:
    opened(tmp_path / "open", 0o777)
    with pytest.raises(LocksUnusable, match=r"other users can write to .*open"):
        FileAccountLocks(tmp_path / "open" / "mine" / "locks").take(["acme"])
    opened(tmp_path / "open", 0o1777)  # In a sticky folder nobody else can rename what is ours.
    assert FileAccountLocks(tmp_path / "open" / "mine" / "locks").take(["acme"])


def test_a_link_to_the_folder_that_others_could_swap_is_refused(tmp_path: Path) -> None:
    opened(tmp_path / "open", 0o777)
    (tmp_path / "open" / "locks").symlink_to(opened(tmp_path / "mine", 0o700))
    with pytest.raises(LocksUnusable, match=r"other users can write to .*open"):
        FileAccountLocks(tmp_path / "open" / "locks").take(["acme"])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("stranger_s", ["locks", "."], ids=["the folder", "what it lies in"])
def test_a_folder_of_another_user_is_refused(tmp_path: Path, stranger_s: str) -> None:
    folder = opened(tmp_path / "state" / "locks", 0o700)
    opened(tmp_path / "state" / stranger_s, 0o755, owner=STRANGER)
    with pytest.raises(LocksUnusable, match="belongs to another user"):
        FileAccountLocks(folder).take(["acme"])


LOSSES: dict[str, Callable[[Path], object]] = {
    "removed": lambda path: path.unlink(),
    "replaced": lambda path: os.replace(new_file(path.with_name("other")), path),
    "renamed": lambda path: path.rename(path.with_name("other")),
    "its folder removed": lambda path: shutil.rmtree(path.parent),
    "its folder swapped": lambda path: (path.parent.rename(path.parent.with_name("old")), path.parent.mkdir()),
}


def new_file(path: Path) -> Path:
    path.touch()
    return path


LOOK_AGAIN_SECONDS = 0.11
"""After which a lock file is looked at again."""


def long_ago(folder: Path) -> None:
    """Pretend that the last change of the folder was an hour ago."""
    os.utime(folder, (time.time() - 3600, time.time() - 3600))


@pytest.mark.parametrize("lose", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("settled", [False, True], ids=["at once", "after long"])
def test_a_lock_whose_file_is_gone_is_noticed(tmp_path: Path, settled: bool, lose: Callable[[Path], object]) -> None:
    locks = FileAccountLocks(tmp_path / "locks")
    locks.take(["acme"])
    (path,) = (tmp_path / "locks").iterdir()
    locks.take(["globex"])
    if settled:
        long_ago(tmp_path / "locks")
    locks.check()
    locks.check()
    lose(path)
    time.sleep(LOOK_AGAIN_SECONDS)
    for _ in range(2):
        with pytest.raises(LocksLost, match=r"was removed or replaced while held.*: do not touch the files"):
            locks.check()


def test_what_is_not_held_may_come_and_go(tmp_path: Path) -> None:
    locks, others = FileAccountLocks(tmp_path), FileAccountLocks(tmp_path)
    locks.take(["acme", "globex"])
    locks.release("globex")
    others.take(["globex", "hooli"])
    others.release_all()
    for path in tmp_path.iterdir():
        if path.name != f"{digest('acme')}.lock":
            path.unlink()
    locks.check()
    locks.release_all()
    shutil.rmtree(tmp_path)
    time.sleep(LOOK_AGAIN_SECONDS)
    locks.check()


def looks_of(call: Callable[[], None]) -> list[object]:
    """Return each look at a file or folder that a call takes."""
    looks, before = list[object](), sys.getprofile()
    sys.setprofile(lambda _, event, what: looks.append(what) if event == "c_call" else None)
    try:
        call()
    finally:
        sys.setprofile(before)
    return [what for what in looks if what in (os.stat, os.lstat)]


def test_a_check_costs_no_look_at_each_file(tmp_path: Path) -> None:
    """It runs before each request, and a run may hold a thousand accounts."""
    locks = FileAccountLocks(tmp_path)
    locks.take(f"account {number}" for number in range(200))
    long_ago(tmp_path)
    locks.check()
    time.sleep(LOOK_AGAIN_SECONDS)
    assert looks_of(locks.check) == [os.stat]


def test_checks_right_after_another_look_at_nothing(tmp_path: Path) -> None:
    """Many threads check at once, while the folder has just changed."""
    locks = FileAccountLocks(tmp_path)
    locks.take(f"account {number}" for number in range(200))
    locks.check()
    assert looks_of(locks.check) == []
