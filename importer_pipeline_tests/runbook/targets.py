"""Targets in Python that accept every record, and do damage on the way, as something else on the machine might."""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from importer_pipeline.records.receipt import Receipt


class LockRemover:
    """Removes the lock files of accounts, as a script that tidies up."""

    def __init__(self, options: Mapping[str, str], _secrets: Mapping[str, str]) -> None:
        self._folder = Path(options["folder"])

    def send(self, records: Sequence[Any]) -> Receipt:
        """Remove the files."""
        for path in self._folder.glob("*.lock"):
            path.unlink()
        return Receipt(sent=len(records), accepted=len(records))


class TableDropper:
    """Drops a table of Dagster's, as a migration by hand."""

    def __init__(self, options: Mapping[str, str], _secrets: Mapping[str, str]) -> None:
        self._database, self._table = options["database"], options["table"]

    def send(self, records: Sequence[Any]) -> Receipt:
        """Drop the table."""
        with closing(sqlite3.connect(self._database)) as database, database:
            database.execute(f"DROP TABLE IF EXISTS {self._table}")
        return Receipt(sent=len(records), accepted=len(records))
