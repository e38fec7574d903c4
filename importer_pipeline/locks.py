"""One sync at a time per Mailchimp account, across the processes of a machine.

Two syncs of one account would use twenty connections, and the one that read earlier could write later. The locks are files
that the operating system holds for the process and releases when it dies, however it dies.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from importer_pipeline.errors import LockFolderUnusable


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
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return {account for account in accounts if account in self._held or self._lock(account)}
        except OSError as error:
            raise LockFolderUnusable(
                f"the folder {self._folder} for lock files can't be used ({error.strerror or type(error).__name__})",
                remedy="let this user write there, or let XDG_STATE_HOME name another folder",
            ) from None

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
        name = hashlib.sha256(account.encode()).hexdigest()[:32]
        # The lock belongs to this object, whichever thread releases it.
        lock = FileLock(self._folder / f"{name}.lock", timeout=0, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            return False
        self._held[account] = lock
        return True
