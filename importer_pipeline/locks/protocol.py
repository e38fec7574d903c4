"""Interfaces of the locks: one sync at a time per Mailchimp account, and run liveness.

Two syncs of one account would use twenty connections, and the one that read earlier could write later. And to Dagster,
a run whose process died looks like a running one. So both are locks that are released when their process dies, however
it
dies: files on one machine (`files`), or advisory locks in a database that several machines share (`postgres`).
"""

import hashlib
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Protocol


class AccountLocks(Protocol):
    """The locks of accounts that this object holds.

    Each method may raise `LocksUnusable`: locks are impossible, or (`LocksLost`) those held are lost.
    """

    def take(self, accounts: Iterable[str]) -> set[str]:
        """Lock the free ones of the accounts, without waiting.

        Returns:
            those that this object now holds.
        """
        ...

    def check(self) -> None:
        """Raise `LocksLost` if another process may hold the locks by now. Fast enough to call before each request."""
        ...

    def release(self, account: str) -> None:
        """Release the lock of an account."""
        ...

    def release_all(self) -> None:
        """Release all locks."""
        ...


class RunLocks(Protocol):
    """The locks of runs, each held by its run's process as long as that lives.

    A free lock alone proves nothing: the run may not have taken it yet, or may have taken one of another kind. So a run
    is marked once its lock is held, and only for a run with its mark does a free lock mean that its process is gone.

    Each method may raise `LocksUnusable`.
    """

    def hold(self, run_id: str) -> bool:
        """Lock the run until this process exits: at the end of its last step, a run has not recorded yet how it ended.

        Returns:
            True if it was free; False if this process, or another one of the same run, holds it already.
        """
        ...

    def mark(self, run_id: str) -> str:
        """Return the mark for the run, to set once its lock is held. It names the run, as a retry inherits its tags."""
        ...

    def if_free(self, run_id: str) -> AbstractContextManager[bool]:
        """Return whether the run's lock is free; hold it during the block, so that others find it taken."""
        ...

    def remove_old(self) -> None:
        """Remove what is left of the locks of runs that ended long ago."""
        ...


def digest(*parts: str) -> str:
    """Return a hash of these parts: 32 hexadecimal digits."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
