"""Dagster's SQLite storage with less work for each run and statement, so that thousands of short runs fit into a test suite.

Dagster reads all migrations again for each run, and makes an engine for each statement, which compiles the statement
again: a third of the CPU time of a short run. Neither depends on what is stored.
"""

import functools
from collections.abc import Callable
from typing import Any

from alembic.config import Config
from alembic.script import ScriptDirectory
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.runs.sqlite import sqlite_run_storage

_MAX_ENGINES = 64


def keep_engines_and_migrations() -> None:
    """Keep them for this process."""
    read = ScriptDirectory.from_config
    found: dict[str, ScriptDirectory] = {}

    def read_once(config: Config) -> ScriptDirectory:
        location = config.get_main_option("script_location") or ""
        if location not in found:
            found[location] = read(config)
        return found[location]

    ScriptDirectory.from_config = staticmethod(read_once)
    for storage in (sqlite_event_log, sqlite_run_storage):
        setattr(storage, "create_engine", _kept(storage.create_engine))  # noqa: B010


def _kept(create_engine: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that makes an engine only once. The engines have no pool, so that they hold no connection."""

    @functools.lru_cache(_MAX_ENGINES)
    def make(url: str, options: tuple[tuple[str, Any], ...], arguments: tuple[tuple[str, Any], ...]) -> Any:
        return create_engine(url, **dict(options), connect_args=dict(arguments))

    def kept(url: str, *, connect_args: dict[str, Any] | None = None, **options: Any) -> Any:
        return make(url, tuple(options.items()), tuple((connect_args or {}).items()))

    return kept
