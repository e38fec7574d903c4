"""The locks of `locks` as files, for the processes of one user on one machine.

The operating system holds them for the process and releases them when it dies, however it dies. It holds them on the file,
though, not on its name: whoever can take the file away or swap its folder lets another sync have a second lock of that name.
So a folder that other users can reach is refused, and before each request the names are looked at.
"""

import os
import platform
import time
import uuid
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import platformdirs
from filelock import FileLock, Timeout

from importer_pipeline.errors import LocksLost, LocksUnusable
from importer_pipeline.locks.folder_trust import reach_of_others
from importer_pipeline.locks.protocol import digest

_OLD_SECONDS = 24 * 3600.0
_SETTLED_NANOSECONDS = 2 * 10**9
"""Two changes of a folder that follow each other may bear one time: what is younger than this is looked at again."""

_held_until_exit: dict[Path, FileLock] = {}
"""The locks of this process's runs: they outlive the objects that took them."""


def default_folder() -> Path:
    """One folder for each user of a machine, so that all of the user's processes meet, whatever their DAGSTER_HOME is.

    Not among the temporary files, which services may have to themselves.
    """
    return platformdirs.user_state_path("importer_pipeline", appauthor=False) / "locks"


class FileAccountLocks:
    """See `locks.AccountLocks`.

    Args:
        folder: where the files are; made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, _Held] = {}
        self._looked_at: _FolderState | None = None

    def take(self, accounts: Iterable[str]) -> set[str]:
        """See `locks.AccountLocks`."""
        with _use(self._folder):
            return {account for account in accounts if account in self._held or self._lock(account)}

    def check(self) -> None:
        """See `locks.AccountLocks`. The names are looked at where the folder has changed since: one `stat` for any number."""
        try:
            state = _FolderState.of(self._folder)
            if state == self._looked_at:
                return
            lost = any(_Identity.of(Path(held.lock.lock_file)) != held.identity for held in list(self._held.values()))
        except FileNotFoundError:
            lost = bool(self._held)
            state = None
        except OSError as error:
            raise _unusable(self._folder, error.strerror or type(error).__name__) from None
        if lost:
            raise LocksLost(
                f"a lock file in {self._folder} was removed or replaced while held: another sync may have its account",
                remedy="do not touch the files there while runs are active; the next run resumes where this one stopped",
            )
        self._looked_at = state if state is not None and state.is_settled else None

    def release(self, account: str) -> None:
        """See `locks.AccountLocks`."""
        held = self._held.pop(account, None)
        if held is not None:
            held.lock.release()

    def release_all(self) -> None:
        """See `locks.AccountLocks`."""
        for account in list(self._held):
            self.release(account)

    def _lock(self, account: str) -> bool:
        path = self._folder / f"{digest(account)}.lock"
        lock = _locked(path)
        if lock is None:
            return False
        self._held[account] = _Held(lock, _Identity.of(path))
        return True


class FileRunLocks:
    """See `locks.RunLocks`.

    Args:
        folder: where the accounts' locks are, too; made if it is not there.
        machine: what this machine is called, by which it is told from others that share the folder or a copy of it.
    """

    def __init__(self, folder: Path, *, machine: str = platform.node()) -> None:
        self._folders = (folder, folder / "runs")
        self._machine = machine

    def hold(self, run_id: str) -> bool:
        """See `locks.RunLocks`."""
        path = self._path(run_id)
        with _use(*self._folders):
            lock = _locked(path)
        if lock is None:
            return False
        _held_until_exit[path] = lock
        return True

    def mark(self, run_id: str) -> str:
        """See `locks.RunLocks`. It is of this folder on this machine."""
        # The folder's path would not tell: containers on one machine have the same one, each in a file system of its own.
        return digest(self._machine, self._folder_name(), run_id)

    @contextmanager
    def if_free(self, run_id: str) -> Generator[bool]:
        """See `locks.RunLocks`."""
        with _use(*self._folders):
            lock = _locked(self._path(run_id))
        try:
            yield lock is not None
        finally:
            if lock is not None:
                lock.release()

    def remove_old(self) -> None:
        """Remove the files of runs that started more than a day ago and are over.

        A run locks its file as soon as it has made it, so a file of that age that is free is no one's who comes to lock it.
        """
        with _use(*self._folders):
            for path in self._folders[-1].glob("*.lock"):
                if _is_old(path) and (lock := _locked(path)) is not None:
                    path.unlink(missing_ok=True)
                    lock.release()

    def _path(self, run_id: str) -> Path:
        return self._folders[-1] / f"{digest(run_id)}.lock"

    def _folder_name(self) -> str:
        """Return a random name that the folder keeps."""
        path = self._folders[-1] / "folder"
        with _use(*self._folders):
            if not path.exists():
                with FileLock(path.with_suffix(".guard")):
                    _write_once(path, uuid.uuid4().hex)
            return path.read_text(encoding="ascii")


@dataclass(frozen=True, slots=True)
class _Identity:
    """Which file a name leads to."""

    device: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> Self:
        status = os.lstat(path)
        return cls(status.st_dev, status.st_ino)


@dataclass(frozen=True, slots=True)
class _Held:
    """A lock, and which file its name led to when it was taken."""

    lock: FileLock
    identity: _Identity


@dataclass(frozen=True, slots=True)
class _FolderState:
    """What changes when a file is put in a folder or taken away, and when its name leads to another one."""

    device: int
    inode: int
    changed_nanoseconds: int

    @classmethod
    def of(cls, folder: Path) -> Self:
        status = os.stat(folder)
        return cls(status.st_dev, status.st_ino, status.st_mtime_ns)

    @property
    def is_settled(self) -> bool:
        """True if a change from now on would bear another time."""
        return time.time_ns() - self.changed_nanoseconds > _SETTLED_NANOSECONDS


@contextmanager
def _use(*folders: Path) -> Generator[None]:
    """Makes the folders, the outer one first: what is made on the way to a folder is open to others."""
    try:
        for folder in folders:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if why := reach_of_others(folder):
                raise LocksUnusable(
                    f"the folder {folder} for lock files can be changed by other users ({why}), who could remove a lock",
                    remedy="remove their write permission (chmod go-w), or set XDG_STATE_HOME to a folder of this user",
                )
        yield
    except OSError as error:
        raise _unusable(folders[-1], error.strerror or type(error).__name__) from None


def _unusable(folder: Path, why: str) -> LocksUnusable:
    return LocksUnusable(
        f"the folder {folder} for lock files can't be used ({why})",
        remedy="let this user write there, or set XDG_STATE_HOME to another folder",
    )


def _locked(path: Path) -> FileLock | None:
    """Return a lock on the file, or None where another has it."""
    # The lock belongs to who keeps the object, whichever thread releases it.
    lock = FileLock(path, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        return None
    return lock


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > _OLD_SECONDS
    except FileNotFoundError:  # Another process has removed it.
        return False


def _write_once(path: Path, text: str) -> None:
    if not path.exists():
        new = path.with_suffix(".new")
        new.write_text(text, encoding="ascii")
        new.replace(path)
