"""Dagster's instance of `DAGSTER_HOME`, opened for a person at a terminal: what can't be opened is one message.

Stays out: what is read from it (`inspection.py`) or run in it (`local_runs.py`).
"""

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from dagster._core.instance.ref import InstanceRef

from importer_pipeline.errors import SettingsInvalid, StopRun
from importer_pipeline.exhaustion import exhaustion_of
from importer_pipeline.redaction import shown_path

_HOME = "DAGSTER_HOME"


@contextmanager
def home_instance() -> Generator[dg.DagsterInstance]:
    """Open the instance that `DAGSTER_HOME` names.

    Raises:
        SettingsInvalid: there is no such variable or folder, or its storage can't be opened.
        MachineExhausted: its storage can't be opened for want of connections, files or disk space.
    """
    with _opened(dg.DagsterInstance.get) as instance:
        yield instance


@contextmanager
def home_instance_at_terminal() -> Generator[dg.DagsterInstance]:
    """Open the same for a run at a terminal, whose output is not copied to a file.

    Dagster copies it with processes of its own, which Ctrl-C at a terminal ends with a stack trace.

    Raises:
        SettingsInvalid: as `home_instance`.
    """
    no_copy = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}

    def opened() -> dg.DagsterInstance:
        return dg.DagsterInstance.from_ref(
            InstanceRef.from_dir(str(home_folder()), overrides={"compute_logs": no_copy})
        )

    with _opened(opened) as instance:
        yield instance


@contextmanager
def _opened(open_instance: Callable[[], dg.DagsterInstance]) -> Generator[dg.DagsterInstance]:
    home_folder()
    try:
        instance = open_instance()
    except Exception as error:  # Settings may name any module and any database.
        raise home_unusable(error) from None
    with instance:
        yield instance


def home_folder() -> Path:
    """Return the folder that `DAGSTER_HOME` names.

    Raises:
        SettingsInvalid: there is no such variable or folder.
    """
    value = os.environ.get(_HOME, "")
    if not value:
        raise SettingsInvalid(
            f"{_HOME} is not set, so it is unknown where Dagster keeps what was imported",
            remedy=f"export {_HOME} as for the syncs: the absolute path of the folder with dagster.yaml",
        )
    home = Path(value).expanduser()
    if not home.is_absolute() or not home.is_dir():
        raise SettingsInvalid(
            f"{_HOME} is {shown_path(value)}, which is not the absolute path of a folder",
            remedy=f"export {_HOME} as for the syncs",
        )
    return home


def home_unusable(error: Exception) -> StopRun:
    """Return an error without the words of the other: they may contain the password of a database."""
    return exhaustion_of(error) or SettingsInvalid(
        f"the storage of Dagster in {_HOME} {shown_path(home_folder())} can't be read ({type(error).__name__})",
        remedy="check dagster.yaml in that folder, its database, and the variables that it names",
    )
