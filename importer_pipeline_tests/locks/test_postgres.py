"""The locks of a real Postgres, across processes, and with broken connections."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import sqlalchemy
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from importer_pipeline.errors import LocksLost, LocksUnusable
from importer_pipeline.exhaustion import exhaustion_of
from importer_pipeline.locks.postgres import (
    CONNECT_ARGUMENTS,
    LockDatabase,
    LockSession,
    PostgresAccountLocks,
    PostgresRunLocks,
)
from importer_pipeline_tests.support.holders import another_process
from importer_pipeline_tests.support.patience import until
from importer_pipeline_tests.support.pooler import transaction_pooler
from importer_pipeline_tests.support.postgres import Postgres, postgres_server

CONNECT = """
import sys
import sqlalchemy
from importer_pipeline.locks.postgres import LockDatabase, PostgresAccountLocks, PostgresRunLocks
url = sys.argv[1]
connect = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sqlalchemy.NullPool).connect
database = LockDatabase(url, connect)
"""
HOLD = f"""{CONNECT}
print(sorted(PostgresAccountLocks(database).take(sys.argv[2:])), flush=True)
sys.stdin.read()
"""
HOLD_RUN = f"""{CONNECT}
print(PostgresRunLocks(database).hold(sys.argv[2]), flush=True)
sys.stdin.read()
"""


class Database:
    """A database, and its locks of both kinds for this process."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = sqlalchemy.create_engine(
            url, isolation_level="AUTOCOMMIT", poolclass=NullPool, connect_args=CONNECT_ARGUMENTS
        )

    def connect(self) -> sqlalchemy.Connection:
        return self._engine.connect()

    @property
    def accounts(self) -> PostgresAccountLocks:
        return PostgresAccountLocks(LockDatabase(self.url, self.connect))

    @property
    def runs(self) -> PostgresRunLocks:
        return PostgresRunLocks(LockDatabase(self.url, self.connect))

    def is_free(self, run_id: str) -> bool:
        with self.runs.if_free(run_id) as free:
            return free


@pytest.fixture
def at(postgres: Postgres, database: str) -> Database:
    return Database(postgres.url(database))


def test_free_accounts_are_locked_without_waiting_for_busy_ones(at: Database) -> None:
    with another_process(HOLD, at.url, "acme", says="['acme']"):
        assert at.accounts.take(["acme", "globex"]) == {"globex"}


def test_an_account_is_free_once_its_holder_is_killed(at: Database) -> None:
    locks = at.accounts
    with another_process(HOLD, at.url, "acme", says="['acme']") as holder:
        assert locks.take(["acme"]) == set()
        holder.kill()
        holder.wait()
        until(lambda: locks.take(["acme"]) == {"acme"})


def test_a_held_account_can_be_taken_again_by_its_holder_only(at: Database) -> None:
    """No other object of the process gets it."""
    locks = at.accounts
    assert locks.take(["acme"]) == {"acme"}
    assert (locks.take(["acme"]), at.accounts.take(["acme"])) == ({"acme"}, set())


@pytest.mark.parametrize("names", [["acme"], ["acme", "globex"]], ids=["the only one", "one of two"])
def test_a_released_account_is_free_for_others(at: Database, names: list[str]) -> None:
    ours, theirs = at.accounts, at.accounts
    ours.take(names)
    assert theirs.take(names) == set()
    ours.release("acme")
    assert theirs.take(names) == {"acme"}
    ours.release_all()
    assert theirs.take(names) == set(names)


def test_a_thousand_accounts_are_locked_at_once(at: Database, postgres: Postgres) -> None:
    names = [f"account {number}" for number in range(1000)]
    assert at.accounts.take(names) == set(names)
    assert postgres.advisory_locks(at.url.rpartition("/")[2]) == 1000


def test_a_holder_notices_at_once_that_its_session_was_ended(at: Database, postgres: Postgres) -> None:
    """It gets no other account."""
    locks = at.accounts
    assert locks.take(["acme"]) == {"acme"}
    locks.check()
    assert postgres.end_sessions(at.url.rpartition("/")[2]) == 1
    until(lambda: postgres.advisory_locks(at.url.rpartition("/")[2]) == 0)
    for use in (locks.check, lambda: locks.take(["acme"]), lambda: locks.take(["globex"])):
        with pytest.raises(LocksLost, match="start the run again: it resumes where it stopped"):
            use()
    with another_process(HOLD, at.url, "acme", says="['acme']"):
        locks.release_all()
        assert at.accounts.take(["acme", "globex"]) == {"globex"}


def test_who_comes_after_a_session_has_ended_gets_another(at: Database, postgres: Postgres) -> None:
    assert at.accounts.take(["acme"]) == {"acme"}
    assert postgres.end_sessions(at.url.rpartition("/")[2]) == 1
    until(lambda: at.accounts.take(["acme"]) == {"acme"})


def test_a_run_that_may_have_been_declared_dead_takes_no_account(at: Database, postgres: Postgres) -> None:
    assert at.runs.hold("run")
    assert postgres.end_sessions(at.url.rpartition("/")[2]) == 1
    until(lambda: at.is_free("run"))  # In another session: whoever looks now declares it dead.
    for _ in range(2):
        with pytest.raises(LocksLost, match="start the run again: it resumes where it stopped"):
            at.accounts.take(["acme"])
    with another_process(HOLD, at.url, "acme", says="['acme']"):
        pass


def test_the_next_run_of_the_same_process_takes_accounts_again(at: Database, postgres: Postgres) -> None:
    assert at.runs.hold("run")
    assert postgres.end_sessions(at.url.rpartition("/")[2]) == 1
    until(lambda: at.runs.hold("next run"))
    assert at.accounts.take(["acme"]) == {"acme"}


def test_what_the_server_tells_meanwhile_is_no_loss(at: Database, postgres: Postgres) -> None:
    locks = at.accounts
    locks.take(["acme"])
    postgres.execute("ALTER SYSTEM SET application_name = 'another'")
    for _ in range(2):
        postgres.execute("SELECT pg_reload_conf()")
        time.sleep(0.2)
        locks.check()
    postgres.execute("ALTER SYSTEM RESET application_name")
    assert at.accounts.take(["acme"]) == set()


def test_a_look_at_the_session_is_quick_enough_for_each_request(at: Database) -> None:
    locks = at.accounts
    locks.take(["acme"])
    sent = at.connect()
    before = _statements(sent)
    for _ in range(10_000):
        locks.check()
    assert _statements(sent) == before
    sent.close()


def _statements(connection: sqlalchemy.Connection) -> list[tuple[object, ...]]:
    """Return the last statement of each session that holds locks, and its time."""
    found = connection.execute(
        sqlalchemy.text(
            "SELECT query, query_start FROM pg_stat_activity WHERE application_name LIKE '%locks' ORDER BY 2"
        )
    )
    return [tuple(row) for row in found]


def test_a_run_s_lock_is_free_once_its_process_is_killed(at: Database) -> None:
    with another_process(HOLD_RUN, at.url, "run", says="True") as holder:
        assert not at.is_free("run")
        holder.kill()
        holder.wait()
        until(lambda: at.is_free("run"))


def test_a_runs_lock_is_held_until_the_process_exits(at: Database) -> None:
    """Whatever becomes of the object that took it."""
    assert at.runs.hold("run")
    assert not at.is_free("run")
    with another_process(HOLD_RUN, at.url, "run", says="False"):
        pass


def test_while_one_looks_at_a_dead_run_no_other_finds_it_free(at: Database) -> None:
    with at.runs.if_free("run") as free:
        assert (free, at.is_free("run"), at.is_free("other")) == (True, False, True)
    assert at.is_free("run")


def test_a_mark_is_of_one_run(at: Database) -> None:
    assert at.runs.mark("run") == at.runs.mark("run")
    assert at.runs.mark("run") != at.runs.mark("other")


USES: dict[str, Callable[[Database], object]] = {
    "accounts": lambda at: at.accounts.take(["acme"]),
    "hold": lambda at: at.runs.hold("run"),
    "look": lambda at: at.is_free("run"),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize("sessions", [1, 2, 5])
def test_a_transaction_pooling_proxy_is_refused(
    postgres: Postgres, database: str, use: Callable[[Database], object], sessions: int
) -> None:
    """The reason is shown."""
    with transaction_pooler(postgres.port, sessions=sessions) as port:
        at = Database(postgres.url(database).replace(f":{postgres.port}/", f":{port}/"))
        with pytest.raises(LocksUnusable, match=r"a proxy that pools transactions.*connect to Postgres directly"):
            use(at)


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_database_without_a_server_is_reported_as_unreachable(
    use: Callable[[Database], object], unserved: Database
) -> None:
    with pytest.raises(LocksUnusable, match=r"can't be reached \(OperationalError\): check that it runs") as raised:
        use(unserved)
    assert "postgres@" not in str(raised.value)


@pytest.fixture
def crowded(postgres: Postgres) -> Iterator[str]:
    """Yield the URL of a database that accepts no more connections of its user."""
    postgres.execute("CREATE ROLE crowd LOGIN CONNECTION LIMIT 0")
    yield postgres.url().replace("postgres@", "crowd@")
    postgres.execute("DROP ROLE crowd")


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_database_without_a_free_connection_is_named(use: Callable[[Database], object], crowded: str) -> None:
    reason = r"can't be reached \(the database accepts no more connections\): raise its max_connections"
    with pytest.raises(LocksUnusable, match=reason):
        use(Database(crowded))


def test_a_refused_connection_is_exhaustion_of_the_database(crowded: str) -> None:
    with pytest.raises(OperationalError) as caught:
        sqlalchemy.create_engine(crowded).connect()
    found = exhaustion_of(caught.value)
    assert found is not None
    assert found.problem == "the database accepts no more connections"


@pytest.fixture
def unserved(postgres: Postgres) -> Database:
    return Database(postgres.url("there_is_no_such"))


@pytest.fixture(scope="module")
def narrow() -> Iterator[Postgres]:
    """Yield a server with room for few locks."""
    with postgres_server(settings=("max_connections=20", "max_locks_per_transaction=10")) as server:
        yield server


def test_a_server_out_of_locks_is_reported_with_the_setting(narrow: Postgres) -> None:
    at = Database(narrow.url())
    with pytest.raises(LocksUnusable, match="max_locks_per_transaction"):
        at.accounts.take([f"account {number}" for number in range(20_000)])
    until(lambda: _is_empty(narrow))


def _is_empty(server: Postgres) -> bool:
    """Return whether no lock is held there. While the server has no room for locks, it accepts no session to look."""
    with suppress(OperationalError):
        return server.advisory_locks("postgres") == 0
    return False


def test_a_closed_session_holds_nothing(at: Database) -> None:
    session = LockSession(at.connect)
    assert session.try_lock([1, 2, 2]) == {1, 2}
    session.close()
    assert not session.is_alive
    with pytest.raises(LocksLost):
        session.try_lock([3])
    other = LockSession(at.connect)
    until(lambda: 1 in other.try_lock([1]))
    other.close()
