"""One sync at a time per Mailchimp account, and a run's sign of life, across the processes of a machine.

Two syncs of one account would use twenty connections, and the one that read earlier could write later. A run whose process
died looks to Dagster like one that goes on. The locks are files that the operating system holds for the process and releases
when it dies, however it dies.

That they are files stays in here: who uses `AccountLocks` or `RunLocks` calls their public methods, and locks that several
machines share, those of a database, would be two more classes with the same ones.
"""

import hashlib
import platform
import time
import uuid
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from importer_pipeline.errors import LockFolderUnusable

_OLD_SECONDS = 24 * 3600.0

_held_until_exit: dict[Path, FileLock] = {}
"""The locks of this process's runs: they outlive the objects that took them."""


def default_folder() -> Path:
    """One folder for each user of a machine, so that all of the user's processes meet, whatever their DAGSTER_HOME is.

    Not among the temporary files, which services may have to themselves.
    """
    return platformdirs.user_state_path("importer_pipeline", appauthor=False) / "locks"


class AccountLocks:
    """The locks of some accounts, as far as they are held.

    Args:
        folder: where the files are; made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, FileLock] = {}

    def take(self, accounts: Iterable[str]) -> set[str]:
        """Lock those of the accounts that are free, without waiting.

        Returns:
            those that are locked now, by this object.

        Raises:
            LockFolderUnusable: no files can be made there.
        """
        with _use(self._folder):
            return {account for account in accounts if account in self._held or self._lock(account)}

    def release(self, account: str) -> None:
        """Let others have the account."""
        lock = self._held.pop(account, None)
        if lock is not None:
            lock.release()

    def release_all(self) -> None:
        """Let others have all of them."""
        for account in list(self._held):
            self.release(account)

    def _lock(self, account: str) -> bool:
        lock = _locked(self._folder / f"{_digest(account)}.lock")
        if lock is None:
            return False
        self._held[account] = lock
        return True


class RunLocks:
    """The locks of runs, each held by its run's process for as long as that lives.

    A free lock means nothing by itself: the run may not have come to take it, or have taken it in another folder. So a run is
    marked once its lock is held, and only of a run that bears its mark here does a free lock tell that its process is gone.

    Args:
        folder: where the accounts' locks are, too; made if it is not there.
        machine: what this machine is called, by which it is told from others that share the folder or a copy of it.
    """

    def __init__(self, folder: Path, *, machine: str = platform.node()) -> None:
        self._folders = (folder, folder / "runs")
        self._machine = machine

    def hold(self, run_id: str) -> bool:
        """Lock the run until this process exits: at the end of its last step, a run has not yet said how it ended.

        Returns:
            whether it was free: this process may have it already, or another one that works on the same run.

        Raises:
            LockFolderUnusable: no files can be made there.
        """
        path = self._path(run_id)
        with _use(*self._folders):
            lock = _locked(path)
        if lock is None:
            return False
        _held_until_exit[path] = lock
        return True

    def mark(self, run_id: str) -> str:
        """What to mark the run with once its lock is held.

        It is the run's own, for its tags are copied to the run that repeats it, and it is of this folder on this machine.

        Raises:
            LockFolderUnusable: no files can be made there.
        """
        # The folder's path would not tell: containers on one machine have the same one, each in a file system of its own.
        return _digest(self._machine, self._folder_name(), run_id)

    @contextmanager
    def if_free(self, run_id: str) -> Generator[bool]:
        """Whether the run's lock is free. While the block runs, no one else finds it so.

        Raises:
            LockFolderUnusable: no files can be made there.
        """
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

        Raises:
            LockFolderUnusable: no files can be removed there.
        """
        with _use(*self._folders):
            for path in self._folders[-1].glob("*.lock"):
                if _is_old(path) and (lock := _locked(path)) is not None:
                    path.unlink(missing_ok=True)
                    lock.release()

    def _path(self, run_id: str) -> Path:
        return self._folders[-1] / f"{_digest(run_id)}.lock"

    def _folder_name(self) -> str:
        """A random name that the folder keeps."""
        path = self._folders[-1] / "folder"
        with _use(*self._folders):
            if not path.exists():
                with FileLock(path.with_suffix(".guard")):
                    _write_once(path, uuid.uuid4().hex)
            return path.read_text(encoding="ascii")


@contextmanager
def _use(*folders: Path) -> Generator[None]:
    """Makes the folders, the outer one first: what is made on the way to a folder is open to others."""
    try:
        for folder in folders:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise LockFolderUnusable(
            f"the folder {folders[-1]} for lock files can't be used ({error.strerror or type(error).__name__})",
            remedy="let this user write there, or let XDG_STATE_HOME name another folder",
        ) from None


def _locked(path: Path) -> FileLock | None:
    """A lock on the file, or None where another has it."""
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


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
