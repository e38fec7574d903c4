"""The locks as files, for the processes of one user on one machine.

The operating system releases them when the process dies, however it dies. But it locks the file, not its name: if the
file is removed or its folder replaced, another sync can get a second lock of that name. So a folder that other users
can change is refused, and the names are checked while requests are sent.
"""

import math
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
_CLEANUP_SECONDS = 3600.0
"""Time between two searches for old files: a backfill has thousands of runs, each of which would look at all files."""
_SETTLED_NANOSECONDS = 2 * 10**9
"""Two successive changes of a folder may have the same time, so a change younger than this is checked again."""
_LOOK_AGAIN_SECONDS = 0.1

_held_until_exit: dict[Path, FileLock] = {}
"""The locks of this process's runs, which outlive the objects that took them."""


def default_folder() -> Path:
    """Return the folder that all processes of this user on this machine share, whatever their DAGSTER_HOME.

    It is not a temporary folder, as services may have one of their own.
    """
    return platformdirs.user_state_path("importer_pipeline", appauthor=False) / "locks"


class FileAccountLocks:
    """Locks of accounts as files.

    Args:
        folder: for the files; created if it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, _Held] = {}
        self._looked_at: _FolderState | None = None
        self._look_after = -math.inf

    def take(self, accounts: Iterable[str]) -> set[str]:
        """See `AccountLocks`."""
        with _use(self._folder):
            return {account for account in accounts if account in self._held or self._lock(account)}

    def check(self) -> None:
        """See `AccountLocks`.

        Looks at most ten times a second, and at the names only if the folder has changed: there may be hundreds of
        requests a second, and a thousand locks.
        """
        now = time.monotonic()
        if now < self._look_after:
            return
        self._look_after = now + _LOOK_AGAIN_SECONDS
        try:
            state = _FolderState.of(self._folder)
            if state == self._looked_at:
                return
            lost = any(held.is_lost for held in list(self._held.values()))
        except FileNotFoundError:
            lost = bool(self._held)
            state = None
        except OSError as error:
            self._look_after = -math.inf
            raise _unusable(self._folder, error.strerror or type(error).__name__) from None
        if lost:
            self._look_after = -math.inf
            raise LocksLost(
                f"a lock file in {self._folder} was removed or replaced while held: another sync may have its account",
                remedy="do not touch the files there during a run; the next run resumes where this one stopped",
            )
        self._looked_at = state if state is not None and state.is_settled else None

    def release(self, account: str) -> None:
        """See `AccountLocks`."""
        held = self._held.pop(account, None)
        if held is not None:
            held.lock.release()

    def release_all(self) -> None:
        """See `AccountLocks`."""
        for account in list(self._held):
            self.release(account)

    def _lock(self, account: str) -> bool:
        path = self._folder / f"{digest(account)}.lock"
        lock = _locked(path)
        if lock is None:
            return False
        self._held[account] = _Held(lock, str(path), *_file_of(str(path)))
        return True


class FileRunLocks:
    """Locks of runs as files.

    Args:
        folder: the folder of the accounts' locks; created if it does not exist.
        machine: name of this machine, which distinguishes it from others that share the folder or a copy of it.
    """

    def __init__(self, folder: Path, *, machine: str = platform.node()) -> None:
        self._folders = (folder, folder / "runs")
        self._machine = machine

    def hold(self, run_id: str) -> bool:
        """See `RunLocks`."""
        path = self._path(run_id)
        with _use(*self._folders):
            lock = _locked(path)
        if lock is None:
            return False
        _held_until_exit[path] = lock
        return True

    def mark(self, run_id: str) -> str:
        """See `RunLocks`. It is valid for this folder on this machine."""
        # The folder's path is not enough: containers on one machine have the same path, each in its own file system.
        return digest(self._machine, self._folder_name(), run_id)

    @contextmanager
    def if_free(self, run_id: str) -> Generator[bool]:
        """See `RunLocks`."""
        with _use(*self._folders):
            lock = _locked(self._path(run_id))
        try:
            yield lock is not None
        finally:
            if lock is not None:
                lock.release()

    def remove_old(self) -> None:
        """Remove the files of runs that started more than a day ago and have ended.

        A run locks its file right after creating it, so no run will come to lock a free file of that age. Nothing is
        done within an hour of the last time.
        """
        with _use(*self._folders):
            cleaned = self._folders[-1] / "cleaned"
            if abs(_age_seconds(cleaned)) < _CLEANUP_SECONDS:
                return
            cleaned.touch()
            for path in self._folders[-1].glob("*.lock"):
                if _OLD_SECONDS < _age_seconds(path) < math.inf and (lock := _locked(path)) is not None:
                    path.unlink(missing_ok=True)
                    lock.release()

    def _path(self, run_id: str) -> Path:
        return self._folders[-1] / f"{digest(run_id)}.lock"

    def _folder_name(self) -> str:
        """Return the folder's random name, which is stored in it."""
        path = self._folders[-1] / "folder"
        with _use(*self._folders):
            if not path.exists():
                with FileLock(path.with_suffix(".guard")):
                    _write_once(path, uuid.uuid4().hex)
            return path.read_text(encoding="ascii")


@dataclass(frozen=True, slots=True)
class _Held:
    """A lock, and the file that its name led to when it was taken."""

    lock: FileLock
    name: str
    device: int
    inode: int

    @property
    def is_lost(self) -> bool:
        """True if the name leads to another file now; raise FileNotFoundError if it leads to none."""
        return _file_of(self.name) != (self.device, self.inode)


def _file_of(name: str) -> tuple[int, int]:
    """Return the device and the inode of the file that a name leads to."""
    status = os.lstat(name)
    return status.st_dev, status.st_ino


@dataclass(frozen=True, slots=True)
class _FolderState:
    """The state of a folder: changes when a file is added or removed, or the folder is replaced."""

    device: int
    inode: int
    changed_nanoseconds: int

    @classmethod
    def of(cls, folder: Path) -> Self:
        status = os.stat(folder)
        return cls(status.st_dev, status.st_ino, status.st_mtime_ns)

    @property
    def is_settled(self) -> bool:
        """True if any later change will have another time."""
        return time.time_ns() - self.changed_nanoseconds > _SETTLED_NANOSECONDS


@contextmanager
def _use(*folders: Path) -> Generator[None]:
    """Create the folders, the outer one first: folders created on the way to another are open to others."""
    try:
        for folder in folders:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if why := reach_of_others(folder):
                raise LocksUnusable(
                    f"other users can change the folder {folder} for lock files ({why}), and so remove a lock",
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
    """Return a lock on the file; None if another process holds it."""
    # The lock belongs to the owner of the object, whichever thread releases it.
    lock = FileLock(path, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        return None
    return lock


def _age_seconds(path: Path) -> float:
    """Return the time since a file was last written, which may be negative; infinity if there is none.

    Another process may have just removed it.
    """
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return math.inf


def _write_once(path: Path, text: str) -> None:
    if not path.exists():
        new = path.with_suffix(".new")
        new.write_text(text, encoding="ascii")
        new.replace(path)
