"""One sync at a time per Mailchimp account, and a run's sign of life: what locks of any kind owe to who uses them.

Two syncs of one account would use twenty connections, and the one that read earlier could write later. A run whose process
died looks to Dagster like one that goes on. So both are locks that are gone when their holder's process dies, however it dies:
those of one machine are files (`file_locks`), those that several machines share are a database's (`postgres_locks`).
"""

import hashlib
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Protocol


class AccountLocks(Protocol):
    """The locks of some accounts, as far as they are held.

    Each method may raise `LocksUnusable`: there can be no locks, or (`LocksLost`) those held are gone.
    """

    def take(self, accounts: Iterable[str]) -> set[str]:
        """Lock those of the accounts that are free, without waiting.

        Returns:
            those that are locked now, by this object.
        """
        ...

    def check(self) -> None:
        """Raise `LocksLost` if what is held may be another's by now. So quick that it can be asked before each request."""
        ...

    def release(self, account: str) -> None:
        """Let others have the account."""
        ...

    def release_all(self) -> None:
        """Let others have all of them."""
        ...


class RunLocks(Protocol):
    """The locks of runs, each held by its run's process for as long as that lives.

    A free lock means nothing by itself: the run may not have come to take it, or have taken one of another kind. So a run is
    marked once its lock is held, and only of a run that bears its mark here does a free lock tell that its process is gone.

    Each method may raise `LocksUnusable`.
    """

    def hold(self, run_id: str) -> bool:
        """Lock the run until this process exits: at the end of its last step, a run has not yet said how it ended.

        Returns:
            whether it was free: this process may have it already, or another one that works on the same run.
        """
        ...

    def mark(self, run_id: str) -> str:
        """Return the mark for the run, to set once its lock is held. It names the run, as a retry inherits its tags."""
        ...

    def if_free(self, run_id: str) -> AbstractContextManager[bool]:
        """Return whether the run's lock is free. While the block runs, no one else finds it so."""
        ...

    def remove_old(self) -> None:
        """Clear away what is left of the locks of runs that are long over."""
        ...


def digest(*parts: str) -> str:
    """Return a name for these parts that tells nothing of them: 32 hexadecimal digits."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
