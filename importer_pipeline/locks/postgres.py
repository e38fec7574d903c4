"""The locks of `locks` in a Postgres database: advisory locks, for processes on any machines.

A session of the database holds them, and they are gone when it ends: when its process dies, when its machine is gone (the
server's keepalives find that out within a minute), or when the connection breaks. The holder notices the latter first, within
half of that, and by looking at its socket before each request; a session that is told to end is noticed at once.

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
from importer_pipeline.locks.protocol import digest

CONNECT_ARGUMENTS = {
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
"""What libpq is to be given: a connection that nothing comes through is broken for us within 25 seconds."""

_SETTINGS = (
    "SET application_name = 'importer_pipeline locks'",
    "SET statement_timeout = '10s'",
    "SET idle_session_timeout = 0",
    # Later than ours: the server may give locks away only when we know that they are lost.
    "SET tcp_keepalives_idle = 30",
    "SET tcp_keepalives_interval = 10",
    "SET tcp_keepalives_count = 3",
)

_LOCK = "SELECT key FROM unnest(CAST(:keys AS bigint[])) AS key WHERE pg_try_advisory_lock(key)"

_UNLOCK = "SELECT pg_advisory_unlock(key) FROM unnest(CAST(:keys AS bigint[])) AS key"

_WHO = "SELECT pg_backend_pid()"

_OUT_OF_SHARED_MEMORY = "53200"

Connect = Callable[[], sqlalchemy.Connection]
"""Makes a connection in autocommit mode, with `CONNECT_ARGUMENTS`, that is in no pool."""


class LockSession:
    """A session of the database and the locks that it holds; threads may share it.

    Args:
        connect: makes its connection.

    Raises:
        LocksUnusable: the database can't be reached, or only through a proxy that gives one session's statements to many.
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
    def stands(self) -> bool:
        """True if what it holds is still its own.

        A server that ends a session closes the connection, which shows on the socket: nothing has to be sent to see it.
        """
        if self._lost or not self._mutex.acquire(blocking=False):
            return not self._lost  # Who is using it will notice.
        try:
            if self._poll.poll(0):
                self._execute("SELECT 1")  # It may have been a notice only.
        except DBAPIError:
            self._lost = True
        finally:
            self._mutex.release()
        return not self._lost

    def try_lock(self, keys: Sequence[int]) -> set[int]:
        """Lock those of the keys that nobody holds, this session neither.

        Raises:
            LocksLost: the session is at its end.
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
        """Let others have these, of those that it holds."""
        with self._mutex:
            free = [key for key in keys if key in self._held]
            if free and not self._lost:
                with suppress(DBAPIError):  # Then they are free as it is.
                    self._execute(_UNLOCK, keys=free)
            if not self._lost:
                self._held.difference_update(free)

    def close(self) -> None:
        """End the session: whatever it holds is free."""
        with self._mutex:
            self._lost = True
            self._connection.close()

    def _execute(self, statement: str, **parameters: Any) -> Sequence[Any]:
        try:
            result = self._connection.execute(sqlalchemy.text(statement), parameters)
            return result.fetchall() if result.returns_rows else []
        except DBAPIError:
            # SQLAlchemy would make another connection, which holds nothing. And of a statement that failed, nobody knows which
            # locks it has taken.
            self._lost = True
            self._connection.invalidate()
            raise

    def _refuse_pooling(self, connect: Connect) -> None:
        """Raise if statements of this connection are executed now here, now there: a lock would be anybody's."""
        (before,) = self._execute(_WHO)
        with connect() as other:
            # In a transaction, so that the proxy can't take that server away from it meanwhile.
            other.execute(sqlalchemy.text("BEGIN"))
            (another,) = other.execute(sqlalchemy.text(_WHO)).fetchall()
            # Where the proxy has one server only, it has given it away by now, and a second question would wait for ever.
            (after,) = (another,) if another == before else self._execute(_WHO)
        if another == before or after != before:
            self._connection.close()
            raise LocksUnusable(
                "the database is behind a proxy that pools transactions, which loses the locks of a session",
                remedy="connect to Postgres directly, or switch the proxy to session pooling",
            )


_sessions: dict[str, LockSession] = {}
"""The session of this process, for each database: it ends with the process."""

_sessions_of_runs: dict[str, LockSession] = {}
"""The session in which this process showed last that a run of its own lives, for each database."""

_making = threading.Lock()


@dataclass(frozen=True, slots=True)
class LockDatabase:
    """A database in which locks are held."""

    name: str
    """What tells it from others, as far as this process knows any."""
    connect: Connect = field(repr=False)
    """Makes a connection to it."""

    def session(self) -> LockSession:
        """Return the session that this process has there; a new one where the one before has broken.

        Raises:
            LocksUnusable: as `LockSession`.
        """
        with _making:
            session = _sessions.get(self.name)
            if session is None or not session.stands:
                session = _sessions[self.name] = LockSession(self.connect)
            return session

    def try_lock_for_run(self, keys: Sequence[int]) -> tuple[LockSession, set[int]]:
        """As `try_lock`, but only in the session in which this process shows that its run lives, where it has a run.

        Raises:
            LocksLost: that has broken. The run may have been declared dead since, and another one be at its accounts.
            LocksUnusable: as `LockSession`.
        """
        session = _sessions_of_runs.get(self.name)
        return self.try_lock(keys) if session is None else (session, session.try_lock(keys))

    def hold_for_run(self, key: int) -> bool:
        """Lock what shows that a run of this process lives, until the process ends; whether it was free."""
        session, locked = self.try_lock([key])
        if locked:
            _sessions_of_runs[self.name] = session
        return bool(locked)

    def try_lock(self, keys: Sequence[int]) -> tuple[LockSession, set[int]]:
        """Lock what is free of the keys, and in which session: a new one where the one before breaks at this moment."""
        session = self.session()
        try:
            return session, session.try_lock(keys)
        except LocksLost:
            session = self.session()
            return session, session.try_lock(keys)


class PostgresAccountLocks:
    """See `locks.AccountLocks`. All are in one session: once that has broken, there are no more to be had here.

    It is the session in which the run shows that it lives. One that was declared dead gets no account any more.

    Args:
        database: where they are.
    """

    def __init__(self, database: LockDatabase) -> None:
        self._database = database
        self._session: LockSession | None = None
        self._held: dict[str, int] = {}

    def take(self, accounts: Iterable[str]) -> set[str]:
        """See `locks.AccountLocks`."""
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
        """See `locks.AccountLocks`."""
        if self._session is not None and not self._session.stands:
            raise _lost()

    def release(self, account: str) -> None:
        """See `locks.AccountLocks`."""
        self._release([account])

    def release_all(self) -> None:
        """See `locks.AccountLocks`."""
        self._release(list(self._held))

    def _release(self, accounts: Sequence[str]) -> None:
        keys = [self._held.pop(account) for account in accounts if account in self._held]
        if self._session is not None:
            self._session.unlock(keys)


class PostgresRunLocks:
    """See `locks.RunLocks`. Any process that uses the database can tell of any run whether it lives.

    Args:
        database: where they are.
    """

    def __init__(self, database: LockDatabase) -> None:
        self._database = database

    def hold(self, run_id: str) -> bool:
        """See `locks.RunLocks`."""
        return self._database.hold_for_run(_key("run", run_id))

    def mark(self, run_id: str) -> str:
        """See `locks.RunLocks`. The database is no part of it: wherever the run can be read, its lock can be looked at."""
        return digest("postgres", run_id)

    @contextmanager
    def if_free(self, run_id: str) -> Generator[bool]:
        """See `locks.RunLocks`."""
        session, locked = self._database.try_lock([_key("run", run_id)])
        try:
            yield bool(locked)
        finally:
            session.unlock(locked)

    def remove_old(self) -> None:
        """Nothing is left of a lock that nobody holds."""


def _key(kind: str, name: str) -> int:
    """Return the number of a lock: 64 bits, signed."""
    whole = hashlib.sha256(f"importer_pipeline {kind}\n{name}".encode()).digest()
    return int.from_bytes(whole[:8], "big", signed=True)


def _lost() -> LocksLost:
    return LocksLost(
        "the connection to the database that holds the accounts' locks was lost",
        remedy="check whether the database was restarted, and start the run again: it resumes where it stopped",
    )


def _unreachable(error: DBAPIError) -> LocksUnusable:
    # The driver's words may hold the address and the user, and nothing else that would be needed.
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
