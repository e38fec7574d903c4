"""The locks of a deployment: the database's if its event log is in Postgres, else files."""

# pyright: reportPrivateUsage=false

from collections.abc import Generator, Iterable
from contextlib import contextmanager

import dagster as dg
from dagster_postgres import PostgresEventLogStorage
from dagster_postgres.utils import create_pg_engine
from sqlalchemy.pool import NullPool

from importer_pipeline.locks.files import FileAccountLocks, FileRunLocks, default_folder
from importer_pipeline.locks.postgres import CONNECT_ARGUMENTS, LockDatabase, PostgresAccountLocks, PostgresRunLocks
from importer_pipeline.locks.protocol import AccountLocks, RunLocks


def account_locks(instance: dg.DagsterInstance) -> AccountLocks:
    """The locks of accounts that all processes of the instance share."""
    storage = instance.event_log_storage
    if isinstance(storage, PostgresEventLogStorage):
        return PostgresAccountLocks(_database(storage))
    return FileAccountLocks(default_folder())


@contextmanager
def free_accounts(instance: dg.DagsterInstance, accounts: Iterable[str]) -> Generator[set[str]]:
    """Lock those of the accounts that are free while the block runs, so that no sync writes what the block does; yield them.

    Raises:
        LocksUnusable: there can be no locks.
    """
    locks = account_locks(instance)
    try:
        yield locks.take(accounts)
    finally:
        locks.release_all()


def run_locks(instance: dg.DagsterInstance) -> RunLocks:
    """The locks of runs that all processes of the instance share."""
    storage = instance.event_log_storage
    if isinstance(storage, PostgresEventLogStorage):
        return PostgresRunLocks(_database(storage))
    return FileRunLocks(default_folder())


def _database(storage: PostgresEventLogStorage) -> LockDatabase:
    engine = create_pg_engine(
        storage.postgres_url,
        storage._token_provider,
        isolation_level="AUTOCOMMIT",
        poolclass=NullPool,
        connect_args=CONNECT_ARGUMENTS,
    )
    return LockDatabase(storage.postgres_url, engine.connect)
