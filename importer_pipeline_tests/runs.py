"""Runs of the pipeline: in process, where the job is the point, and by the command line, where that is."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

import importer_pipeline
from importer_pipeline.clients import Clients
from importer_pipeline.definitions import build_defs

ROOT = Path(importer_pipeline.__file__).parents[1]
_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One line of a run's log.

    Attributes:
        level: its level, as the logging module counts.
        text: what it says.
        asset: of a materialization, the asset's key in words.
        numbers: of a materialization, its metadata.
    """

    level: int
    text: str
    asset: str
    numbers: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A run in process.

    Attributes:
        success: whether it ended well.
        message: what it failed with; "" if it did not.
        told: what it logged, in order.
    """

    success: bool
    message: str
    told: tuple[Told, ...]

    @property
    def materialized(self) -> list[str]:
        """The assets that it materialized, in order."""
        return [told.asset for told in self.told if told.asset]

    def numbers(self, asset: str) -> Mapping[str, Any]:
        """The metadata of an asset's one materialization."""
        (numbers,) = [told.numbers for told in self.told if told.asset == asset]
        return numbers


def run_config(
    *, clients: Sequence[str] = (), audiences: Sequence[str] = (), mailchimp: Mapping[str, Any] | None = None,
    target: Mapping[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """A run's config: a selection, and how the APIs are treated. Retries come at once unless it says otherwise."""
    return {
        "ops": {"import_contacts": {"config": {"clients": list(clients), "audiences": list(audiences)}}},
        "resources": {
            "mailchimp": {"config": {"retry_pause_seconds": 0.02, **(mailchimp or {})}},
            "target": {"config": dict(target or {})},
        },
    }


def full_sync(clients: Clients, config: Mapping[str, Any] | None = None) -> Ran:
    """Run the job in process, with an instance that is gone afterwards."""
    job = build_defs(clients).resolve_job_def("full_sync")
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(
            instance=instance, run_config=dict(config or run_config()), raise_on_error=False
        )
        return ran_of(result, instance)


def ran_of(result: dg.ExecuteInProcessResult, instance: dg.DagsterInstance) -> Ran:
    """What became of a run in process."""
    failures = [event.step_failure_data.user_failure_data for event in result.all_events if event.is_step_failure]
    return Ran(
        success=result.success,
        message="\n".join(failure.description or "" for failure in failures if failure is not None),
        told=tuple(_told(entry) for entry in instance.all_logs(result.run_id)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A command that has ended.

    Attributes:
        code: its exit code.
        output: what it printed.
    """

    code: int
    output: str


def dagster_home(folder: Path, *, more: str = "") -> Path:
    """A new folder for DAGSTER_HOME with the settings that the project comes with, and perhaps some more."""
    home = folder / "dagster_home"
    home.mkdir()
    (home / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text(encoding="utf-8") + more, encoding="utf-8")
    return home


def dagster(
    *arguments: str, folder: Path, clients: Path | None = None, home: Path | None = None,
    variables: Mapping[str, str] | None = None,
) -> Finished:  # fmt: skip
    """Run `dagster ...` on this package.

    Args:
        arguments: the subcommand and what it takes, without `-m`.
        folder: where it is run.
        clients: what IMPORTER_CLIENTS names; None to leave it unset.
        home: DAGSTER_HOME; None to leave it unset.
        variables: more of the environment.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DAGSTER_", "IMPORTER_"))}
    environment |= {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default", **(variables or {})}
    environment |= {"IMPORTER_CLIENTS": str(clients)} if clients else {}
    environment |= {"DAGSTER_HOME": str(home)} if home else {}
    done = subprocess.run(
        [sys.executable, "-m", "dagster", *arguments, "-m", "importer_pipeline"], cwd=folder, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=_SECONDS, check=False,
    )  # fmt: skip
    return Finished(code=done.returncode, output=done.stdout.decode("utf-8"))


def full_sync_command(folder: Path, config: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """What comes after `dagster` for a full sync with that config, which goes into a file in the folder."""
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(dict(config or run_config())), encoding="utf-8")
    return ("job", "execute", "-j", "full_sync", "-c", str(path))


def _told(entry: dg.EventLogEntry) -> Told:
    materialization = entry.asset_materialization
    asset, numbers = "", dict[str, Any]()
    if materialization is not None:
        asset = materialization.asset_key.to_user_string()
        numbers = {name: value.value for name, value in materialization.metadata.items()}
    level = entry.level if isinstance(entry.level, int) else 0
    return Told(level=level, text=entry.user_message, asset=asset, numbers=numbers)
