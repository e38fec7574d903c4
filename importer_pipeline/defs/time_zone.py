"""Whether the database takes times as Dagster writes them: in UTC.

Dagster compares times that it writes in UTC with those that the database stamps rows with, which have no zone and are in the
session's. In another zone, the newest runs look hours old or come from the future.
"""

import dagster as dg
from dagster_postgres import PostgresEventLogStorage
from sqlalchemy import text

_OFFSETS = text(
    "SELECT current_setting('TimeZone'), "
    "extract(timezone FROM timestamptz '2026-01-01 00:00Z') = 0 AND extract(timezone FROM timestamptz '2026-07-01 00:00Z') = 0"
)
"""The zone's name, and whether it is UTC, which has many: in winter, others look like it."""


def time_zone_problem(instance: dg.DagsterInstance) -> str | None:
    """Tell what is wrong with the time zone of the database in which an instance keeps its events; None if nothing is."""
    storage = instance.event_log_storage
    if not isinstance(storage, PostgresEventLogStorage):
        return None
    with storage.index_connection() as connection:
        name, is_utc = connection.execute(_OFFSETS).one()
    if is_utc:
        return None
    return (
        f"sessions of Dagster's database are in the time zone {name}, and Dagster takes its times for UTC: runs and ticks look "
        "hours younger or older than they are. Remedy: copy `params` of deploy/dagster.yaml into that of DAGSTER_HOME"
    )
