"""The locks in a Postgres database: advisory locks, for processes on any machines.

A database session holds them, and they are released when it ends: when its process dies, when its machine is gone (the
server's keepalives detect that within a minute), or when the connection breaks. The holder notices a broken connection
first, within half a minute; and a session that the server ended at once, as it checks its socket before each request.

https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
"""

import hashlib
import select
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy
from sqlalchemy.exc import DBAPIError

from importer_pipeline.errors import LocksLost, LocksUnusable
from importer_pipeline.exhaustion import exhaustion_of
from importer_pipeline.locks.protocol import digest

CONNECT_ARGUMENTS = {
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
"""Arguments for libpq: a dead connection counts as broken within 25 seconds."""

_SETTINGS = (
    "SET application_name = 'importer_pipeline locks'",
    "SET statement_timeout = '10s'",
    "SET idle_session_timeout = 0",
    # Later than ours: the server may release the locks only once we know that they are lost.
    "SET tcp_keepalives_idle = 30",
    "SET tcp_keepalives_interval = 10",
    "SET tcp_keepalives_count = 3",
)

_LOCK = "SELECT key FROM unnest(CAST(:keys AS bigint[])) AS key WHERE pg_try_advisory_lock(key)"

_UNLOCK = "SELECT pg_advisory_unlock(key) FROM unnest(CAST(:keys AS bigint[])) AS key"

_WHO = "SELECT pg_backend_pid()"

_OUT_OF_SHARED_MEMORY = "53200"

Connect = Callable[[], sqlalchemy.Connection]
"""Opens a connection in autocommit mode, with `CONNECT_ARGUMENTS` and outside any pool."""


class LockSession:
    """A database session and the locks that it holds; threads may share it.

    Args:
        connect: opens its connection.

    Raises:
        LocksUnusable: the database can't be reached, or only through a proxy that pools transactions.
    """

    def __init__(self, connect: Connect) -> None:
        self._mutex = threading.Lock()
        self._held: set[int] = set()
        self._lost = False
        try:
            self._connection = connect()
            for setting in _SETTINGS:
                self._execute(setting)
            self._refuse_pooling(connect)
        except DBAPIError as error:
            raise _unreachable(error) from None
        driver: Any = self._connection.connection.dbapi_connection
        self._poll = select.poll()
        self._poll.register(driver.fileno(), select.POLLIN)

    @property
    def is_alive(self) -> bool:
        """True if it still holds its locks.

        A server that ends a session closes the connection, which is visible on the socket without sending anything.
        """
        if self._lost or not self._mutex.acquire(blocking=False):
            return not self._lost  # Its current user will notice.
        try:
            if self._poll.poll(0):
                self._execute("SELECT 1")  # It may have been a notice only.
        except DBAPIError:
            self._lost = True
        finally:
            self._mutex.release()
        return not self._lost

    def try_lock(self, keys: Sequence[int]) -> set[int]:
        """Lock the keys that no session holds, not even this one.

        Raises:
            LocksLost: the session has ended.
            LocksUnusable: the server has no room for more locks.
        """
        with self._mutex:
            wanted = [key for key in dict.fromkeys(keys) if key not in self._held]
            try:
                rows = [] if self._lost else self._execute(_LOCK, keys=wanted)
            except DBAPIError as error:
                raise _refused(error) from None
            if self._lost:
                raise _lost()
            locked = {row[0] for row in rows}
            self._held |= locked
            return locked

    def unlock(self, keys: Iterable[int]) -> None:
        """Release those of the keys that it holds."""
        with self._mutex:
            free = [key for key in keys if key in self._held]
            if free and not self._lost:
                with suppress(DBAPIError):  # Then they are free anyway.
                    self._execute(_UNLOCK, keys=free)
            if not self._lost:
                self._held.difference_update(free)

    def close(self) -> None:
        """End the session, which releases its locks."""
        with self._mutex:
            self._lost = True
            self._connection.close()

    def _execute(self, statement: str, **parameters: Any) -> Sequence[Any]:
        try:
            result = self._connection.execute(sqlalchemy.text(statement), parameters)
            return result.fetchall() if result.returns_rows else []
        except DBAPIError:
            # SQLAlchemy would open another connection, which holds no locks. And it is unknown which locks a failed
            # statement has taken.
            self._lost = True
            self._connection.invalidate()
            raise

    def _refuse_pooling(self, connect: Connect) -> None:
        """Raise if a proxy spreads the statements of this connection over sessions: locks would be anybody's."""
        (before,) = self._execute(_WHO)
        with connect() as other:
            # In a transaction, so that the proxy can't give its session to others meanwhile.
            other.execute(sqlalchemy.text("BEGIN"))
            (another,) = other.execute(sqlalchemy.text(_WHO)).fetchall()
            # A proxy with a single session has given it away by now, and a second query would wait for ever.
            (after,) = (another,) if another == before else self._execute(_WHO)
        if another == before or after != before:
            self._connection.close()
            raise LocksUnusable(
                "the database is behind a proxy that pools transactions, which loses the locks of a session",
                remedy="connect to Postgres directly, or switch the proxy to session pooling",
            )


_sessions: dict[str, LockSession] = {}
"""The session of this process for each database; it ends with the process."""

_sessions_of_runs: dict[str, LockSession] = {}
"""The session that holds the lock of this process's latest run, for each database."""

_making = threading.Lock()


@dataclass(frozen=True, slots=True)
class LockDatabase:
    """A database in which locks are held."""

    name: str
    """Distinguishes it from other databases in this process."""
    connect: Connect = field(repr=False)
    """Opens a connection to it."""

    def session(self) -> LockSession:
        """Return this process's session; open a new one if the previous one has broken.

        Raises:
            LocksUnusable: as `LockSession`.
        """
        with _making:
            session = _sessions.get(self.name)
            if session is None or not session.is_alive:
                session = _sessions[self.name] = LockSession(self.connect)
            return session

    def try_lock_for_run(self, keys: Sequence[int]) -> tuple[LockSession, set[int]]:
        """Lock like `try_lock`, but only in the session that holds the lock of this process's run, if there is a run.

        Raises:
            LocksLost: that session has broken. The run may have been reported as failed, and another one use its
                accounts.
            LocksUnusable: as `LockSession`.
        """
        session = _sessions_of_runs.get(self.name)
        return self.try_lock(keys) if session is None else (session, session.try_lock(keys))

    def hold_for_run(self, key: int) -> bool:
        """Lock a run of this process until the process exits; return whether the lock was free."""
        session, locked = self.try_lock([key])
        if locked:
            _sessions_of_runs[self.name] = session
        return bool(locked)

    def try_lock(self, keys: Sequence[int]) -> tuple[LockSession, set[int]]:
        """Lock the free ones of the keys, and return the session: a new one if the previous one has just broken."""
        session = self.session()
        try:
            return session, session.try_lock(keys)
        except LocksLost:
            session = self.session()
            return session, session.try_lock(keys)


class PostgresAccountLocks:
    """Locks of accounts in a database. All are in one session: once that has broken, no more can be taken.

    The session also holds the lock of the run. So a run that was reported as failed gets no more accounts.

    Args:
        database: the database with the locks.
    """

    def __init__(self, database: LockDatabase) -> None:
        self._database = database
        self._session: LockSession | None = None
        self._held: dict[str, int] = {}

    def take(self, accounts: Iterable[str]) -> set[str]:
        """See `AccountLocks`."""
        self.check()
        wanted = dict.fromkeys(accounts)
        keys = {account: _key("account", account) for account in wanted if account not in self._held}
        if self._session is None:
            self._session, locked = self._database.try_lock_for_run(list(keys.values()))
        else:
            locked = self._session.try_lock(list(keys.values()))
        self._held |= {account: key for account, key in keys.items() if key in locked}
        return {account for account in wanted if account in self._held}

    def check(self) -> None:
        """See `AccountLocks`."""
        if self._session is not None and not self._session.is_alive:
            raise _lost()

    def release(self, account: str) -> None:
        """See `AccountLocks`."""
        self._release([account])

    def release_all(self) -> None:
        """See `AccountLocks`."""
        self._release(list(self._held))

    def _release(self, accounts: Sequence[str]) -> None:
        keys = [self._held.pop(account) for account in accounts if account in self._held]
        if self._session is not None:
            self._session.unlock(keys)


class PostgresRunLocks:
    """Locks of runs in a database. Any process that uses the database can tell whether a run is alive.

    Args:
        database: the database with the locks.
    """

    def __init__(self, database: LockDatabase) -> None:
        self._database = database

    def hold(self, run_id: str) -> bool:
        """See `RunLocks`."""
        return self._database.hold_for_run(_key("run", run_id))

    def mark(self, run_id: str) -> str:
        """See `RunLocks`. The database is not part of it: whoever can read the run can check its lock."""
        return digest("postgres", run_id)

    @contextmanager
    def if_free(self, run_id: str) -> Generator[bool]:
        """See `RunLocks`."""
        session, locked = self._database.try_lock([_key("run", run_id)])
        try:
            yield bool(locked)
        finally:
            session.unlock(locked)

    def remove_old(self) -> None:
        """Do nothing: a lock that nobody holds leaves nothing behind."""


def _key(kind: str, name: str) -> int:
    """Return the key of a lock: 64 bits, signed."""
    whole = hashlib.sha256(f"importer_pipeline {kind}\n{name}".encode()).digest()
    return int.from_bytes(whole[:8], "big", signed=True)


def _lost() -> LocksLost:
    return LocksLost(
        "the connection to the database that holds the accounts' locks was lost",
        remedy="check whether the database was restarted, and start the run again: it resumes where it stopped",
    )


def _unreachable(error: DBAPIError) -> LocksUnusable:
    if (exhausted := exhaustion_of(error)) is not None:
        return LocksUnusable(
            f"the database that holds the locks can't be reached ({exhausted.problem})", remedy=exhausted.remedy
        )
    # The driver's message may contain the address and the user, and nothing else of use.
    return LocksUnusable(
        f"the database that holds the locks can't be reached ({type(error.orig).__name__})",
        remedy="check that it runs, and that the storage settings in DAGSTER_HOME lead to it",
    )


def _refused(error: DBAPIError) -> LocksLost | LocksUnusable:
    if getattr(error.orig, "pgcode", None) == _OUT_OF_SHARED_MEMORY:
        return LocksUnusable(
            "the database has no room for more locks: each account takes one while it is synced",
            remedy="raise its setting max_locks_per_transaction, and restart it",
        )
    return _lost()
