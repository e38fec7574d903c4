"""The rows of dynamic partitions and wiped assets in Dagster's tables, for many assets in one transaction.

Dagster's own calls take one asset each, and for each its connections and a look at the tables: 25 ms of CPU with SQLite,
which for a thousand audiences is longer than their sync. Internal to Dagster, like `event_log`, which is about events.
"""

# pyright: reportPrivateUsage=false

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import takewhile

import dagster as dg
from dagster._core.storage.event_log import AssetKeyTable, SqlEventLogStorageTable, SqliteEventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, DynamicPartitionsTable
from dagster_postgres import PostgresEventLogStorage
from sqlalchemy import delete, insert, select, update
from sqlalchemy.engine import Connection

from importer_pipeline.defs.batches import VALUES_AT_ONCE, batches


def renew_partitions(
    instance: dg.DagsterInstance, keys: Mapping[str, Sequence[str]], *, wiped: Sequence[dg.AssetKey]
) -> None:
    """Wipe some assets, and give dynamic partitions definitions these keys, in this order: all of it or nothing.

    Dagster shows keys in the order in which they were added. So of keys that are there already, those up to the first
    difference stay, and all others are added anew.

    Args:
        instance: where.
        keys: of each partitions definition, by its name.
        wiped: assets whose materializations count no more.
    """
    storage = instance.event_log_storage
    if not isinstance(storage, SqliteEventLogStorage | PostgresEventLogStorage):
        instance.wipe_assets(wiped)
        for name, wanted in keys.items():
            _renew_one(instance, name, wanted)
        return
    # Before the transaction: Dagster looks at its tables for it, through a connection of its own.
    values = storage._get_asset_key_values_on_wipe() if wiped else {}
    with storage.index_transaction() as connection:
        for assets in batches([key.to_string() for key in wiped], VALUES_AT_ONCE):
            connection.execute(update(AssetKeyTable).values(**values).where(AssetKeyTable.c.asset_key.in_(assets)))
            connection.execute(
                delete(AssetCheckExecutionsTable).where(AssetCheckExecutionsTable.c.asset_key.in_(assets))
            )
            if isinstance(storage, SqliteEventLogStorage):
                connection.execute(
                    delete(SqlEventLogStorageTable).where(SqlEventLogStorageTable.c.asset_key.in_(assets))
                )
        _renew(connection, keys)


def _renew(connection: Connection, keys: Mapping[str, Sequence[str]]) -> None:
    table = DynamicPartitionsTable
    before: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for names in batches(list(keys), VALUES_AT_ONCE):
        columns = select(table.c.partitions_def_name, table.c.id, table.c.partition)
        rows = connection.execute(columns.where(table.c.partitions_def_name.in_(names)).order_by(table.c.id))
        for name, row_id, key in rows:
            before[name].append((row_id, key))
    stale: list[int] = []
    missing: list[dict[str, str]] = []
    for name, wanted in keys.items():
        same = _same([key for _, key in before[name]], wanted)
        stale += [row_id for row_id, _ in before[name][same:]]
        missing += [{"partitions_def_name": name, "partition": key} for key in wanted[same:]]
    for ids in batches(stale, VALUES_AT_ONCE):
        connection.execute(delete(table).where(table.c.id.in_(ids)))
    if missing:
        connection.execute(insert(table), missing)


def _renew_one(instance: dg.DagsterInstance, name: str, wanted: Sequence[str]) -> None:
    before = instance.get_dynamic_partitions(name)
    same = _same(before, wanted)
    for key in before[same:]:
        instance.delete_dynamic_partition(name, key)
    for some in batches(wanted[same:], VALUES_AT_ONCE):
        instance.add_dynamic_partitions(name, some)


def _same(before: Sequence[str], after: Sequence[str]) -> int:
    """Count the keys that are equal from the beginning."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False)))
