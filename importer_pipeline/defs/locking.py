"""Which locks a deployment uses: the database's where its event log is in Postgres, else files."""

# pyright: reportPrivateUsage=false

import dagster as dg
from dagster_postgres import PostgresEventLogStorage
from dagster_postgres.utils import create_pg_engine
from sqlalchemy.pool import NullPool

from importer_pipeline.file_locks import FileAccountLocks, FileRunLocks, default_folder
from importer_pipeline.locks import AccountLocks, RunLocks
from importer_pipeline.postgres_locks import CONNECT_ARGUMENTS, LockDatabase, PostgresAccountLocks, PostgresRunLocks


def account_locks(instance: dg.DagsterInstance) -> AccountLocks:
    """The locks of accounts that all processes of the instance share."""
    storage = instance.event_log_storage
    if isinstance(storage, PostgresEventLogStorage):
        return PostgresAccountLocks(_database(storage))
    return FileAccountLocks(default_folder())


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
