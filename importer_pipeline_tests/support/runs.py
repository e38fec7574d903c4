"""Runs of the pipeline: in process, for tests of jobs, and by the command line, for tests of that."""

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

import importer_pipeline
from importer_pipeline.clients.collection import Clients
from importer_pipeline.definitions import build_defs
from importer_pipeline.defs.names import POOL, windows_key
from importer_pipeline.defs.settings import Settings
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.sandbox.children import DAYS, TOLERANCE_VARIABLE
from importer_pipeline_tests.support.processes import neutral_environment

ROOT = Path(importer_pipeline.__file__).parents[1]
_SELECTING = ("import_contacts", "register_windows", "import_changes")
"""Ops with a selection of clients or audiences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line of a run's log.

    Attributes:
        level: its level, as the logging module counts.
        text: its message.
        asset: of a materialization, the asset's key in words.
        partition: of the materialization of a partition, its key.
        numbers: of a materialization, its metadata.
    """

    level: int
    text: str
    asset: str
    partition: str
    numbers: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A run in process.

    Attributes:
        run_id: its id.
        success: True if it succeeded.
        message: the message of its failure; "" if it succeeded.
        log: its log, in order.
    """

    run_id: str
    success: bool
    message: str
    log: tuple[LogLine, ...]

    @property
    def materialized(self) -> list[str]:
        """Assets of audiences that it materialized as a whole, in order."""
        return [line.asset for line in self.log if line.asset.count("/") == 2 and not line.partition]

    def partitions(self, asset: str) -> list[str]:
        """Return the partitions of an asset that it materialized, in order."""
        return [line.partition for line in self.log if line.asset == asset and line.partition]

    def numbers(self, asset: str, partition: str = "") -> Mapping[str, Any]:
        """Return the metadata of the one materialization of an asset, or of one of its partitions."""
        (numbers,) = [line.numbers for line in self.log if (line.asset, line.partition) == (asset, partition)]
        return numbers

    def said(self, text: str) -> bool:
        """Return whether a line of the log contains a text."""
        return any(text in line.text for line in self.log)


def logged(instance: dg.DagsterInstance, text: str) -> list[str]:
    """Return the lines with that text in the logs of all runs."""
    entries = [entry for run in instance.get_runs() for entry in instance.all_logs(run.run_id)]
    return [entry.user_message for entry in entries if text in entry.user_message]


def runs_in_pool(instance: dg.DagsterInstance) -> set[str]:
    """Return the runs that have a pool slot, or wait for one."""
    return {step.run_id for step in instance.event_log_storage.get_concurrency_info(POOL).pending_steps}


def new_instance(folders: pytest.TempPathFactory) -> dg.DagsterInstance:
    """Make an instance without runs in a new folder: a copy of a blank one, which takes a tenth of the time."""
    blank = folders.getbasetemp() / "blank_instance"
    if not blank.exists():
        blank.mkdir()
        with instance_in(blank) as made:
            made.get_runs()
    folder = folders.mktemp("instance")
    shutil.copytree(blank, folder, dirs_exist_ok=True)
    return instance_in(folder)


def instance_in(folder: Path) -> dg.DagsterInstance:
    """Open the instance of a folder."""
    # Output of steps is not kept: for that, Dagster redirects the whole process, which fails for two runs at once.
    nowhere = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
    return dg.DagsterInstance.local_temp(str(folder), overrides={"compute_logs": nowhere})


def run_config(
    *, clients: Sequence[str] = (), audiences: Sequence[str] = (), mailchimp: Mapping[str, Any] | None = None,
    target: Mapping[str, Any] | None = None, op: str = "import_contacts", **more: Any,
) -> dict[str, Any]:  # fmt: skip
    """Make a run's config. Retries come at once unless it says otherwise.

    Args:
        clients: names of clients to take.
        audiences: single audiences to take.
        mailchimp: config of the `mailchimp` resource.
        target: config of the `target` resource.
        op: name of the job's one op.
        more: further config of the op.
    """
    selection = {"clients": list(clients), "audiences": list(audiences)} if op in _SELECTING else {}
    return {
        "ops": {op: {"config": {**selection, **more}}},
        "resources": {
            "mailchimp": {"config": {"retry_pause_seconds": 0.02, **(mailchimp or {})}},
            "target": {"config": dict(target or {})},
        },
    }


def full_sync(
    clients: Clients, config: Mapping[str, Any] | None = None, *, instance: dg.DagsterInstance | None = None,
    settings: Settings | None = None, resources: Mapping[str, object] | None = None,
) -> Ran:  # fmt: skip
    """Run the job in process, with a temporary instance unless one is given, and perhaps with other resources."""
    return _execute(clients, "full_sync", config or run_config(), instance, settings, resources=resources)


def plan_windows(
    clients: Clients, config: Mapping[str, Any] | None = None, *, instance: dg.DagsterInstance | None = None
) -> Ran:
    """Run the job that only registers windows; otherwise as `full_sync`."""
    return _execute(clients, "plan_windows", config or run_config(op="register_windows"), instance)


def incremental_sync(
    clients: Clients,
    config: Mapping[str, Any] | None = None,
    *,
    instance: dg.DagsterInstance | None = None,
    settings: Settings | None = None,
) -> Ran:
    """Run the job that imports what changed, with these settings of the deployment; otherwise as `full_sync`."""
    return _execute(clients, "incremental_sync", config or run_config(op="import_changes"), instance, settings)


def check_clients(clients: Clients, *names: str, instance: dg.DagsterInstance) -> Ran:
    """Run the job that checks all clients, or these; otherwise as `full_sync`."""
    config = {"ops": {"find_problems": {"config": {"clients": list(names)}}}}
    return _execute(clients, "check_clients", config, instance)


def redrive(clients: Clients, config: Mapping[str, Any] | None = None, *, instance: dg.DagsterInstance) -> Ran:
    """Run the job that redrives the quarantine; otherwise as `full_sync`."""
    return _execute(clients, "redrive_quarantine", config or run_config(op="retry_quarantined"), instance)


def materialize(
    clients: Clients,
    assets: Sequence[dg.AssetKey],
    *,
    instance: dg.DagsterInstance,
    partitions: Sequence[str] = (),
    mailchimp: Mapping[str, Any] | None = None,
) -> Ran:
    """Materialize assets in process.

    Args:
        clients: all clients.
        assets: the assets.
        instance: the instance to run in.
        partitions: a partition, or the first and the last of a range; none for assets that have none.
        mailchimp: config of the `mailchimp` resource.
    """
    job = build_defs(clients).resolve_implicit_global_asset_job_def()
    first_and_last = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
    result = job.execute_in_process(
        instance=instance,
        asset_selection=list(assets),
        run_config={"resources": run_config(mailchimp=mailchimp)["resources"]},
        partition_key=partitions[0] if len(partitions) == 1 else None,
        tags=dict(zip(first_and_last, partitions, strict=True)) if len(partitions) > 1 else None,
        raise_on_error=False,
    )
    return ran_of(result, instance)


def import_windows(
    clients: Clients, audience: str, *keys: str, instance: dg.DagsterInstance, **mailchimp: Any
) -> Ran:  # fmt: skip
    """Materialize a window of an audience (`client/audience`), or a range of them, in process."""
    asset = windows_key(AudienceName(*audience.split("/")))
    return materialize(clients, [asset], instance=instance, partitions=keys, mailchimp=mailchimp)


def ran_of(result: dg.ExecuteInProcessResult, instance: dg.DagsterInstance) -> Ran:
    """Summarize a run in process."""
    failures = [event.step_failure_data.user_failure_data for event in result.all_events if event.is_step_failure]
    return Ran(
        run_id=result.run_id,
        success=result.success,
        message="\n".join(failure.description or "" for failure in failures if failure is not None),
        log=tuple(_log_line(entry) for entry in instance.all_logs(result.run_id)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A command that has ended.

    Attributes:
        code: its exit code.
        output: its output.
    """

    code: int
    output: str


def dagster_home(folder: Path, *, more: str = "") -> Path:
    """Make a folder for DAGSTER_HOME with the project's settings, and perhaps more."""
    home = folder / "dagster_home"
    home.mkdir()
    (home / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text(encoding="utf-8") + more, encoding="utf-8")
    return home


def outer_environment() -> dict[str, str]:
    """Return the environment of a test's own Dagster, whose sandbox may have any clock."""
    return neutral_environment() | {TOLERANCE_VARIABLE: DAYS}


def dagster(
    *arguments: str, folder: Path, clients: Path | None = None, home: Path | None = None,
    variables: Mapping[str, str] | None = None,
) -> Finished:  # fmt: skip
    """Run `dagster ...` on this package.

    Args:
        arguments: the subcommand and its arguments, without `-m`.
        folder: its working directory.
        clients: value of IMPORTER_CLIENTS; None to leave it unset.
        home: DAGSTER_HOME; None to leave it unset.
        variables: more of the environment.
    """
    environment = outer_environment() | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default", **(variables or {})}
    environment |= {"IMPORTER_CLIENTS": str(clients)} if clients else {}
    environment |= {"DAGSTER_HOME": str(home)} if home else {}
    done = subprocess.run(
        [sys.executable, "-m", "dagster", *arguments, "-m", "importer_pipeline"], cwd=folder, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    return Finished(code=done.returncode, output=done.stdout.decode("utf-8"))


def full_sync_command(folder: Path, config: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """Return the arguments of `dagster` for a full sync with that config."""
    return job_command("full_sync", folder, config or run_config())


def job_command(job: str, folder: Path, config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the arguments of `dagster` for a run of a job; its config goes into a file in the folder."""
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(dict(config)), encoding="utf-8")
    return ("job", "execute", "-j", job, "-c", str(path))


def _execute(
    clients: Clients,
    job: str,
    config: Mapping[str, Any],
    instance: dg.DagsterInstance | None,
    settings: Settings | None = None,
    *,
    resources: Mapping[str, object] | None = None,
) -> Ran:
    with nullcontext(instance) if instance is not None else dg.DagsterInstance.ephemeral() as used:
        result = (
            build_defs(clients, settings, resources=resources)
            .resolve_job_def(job)
            .execute_in_process(instance=used, run_config=dict(config), raise_on_error=False)
        )
        return ran_of(result, used)


def _log_line(entry: dg.EventLogEntry) -> LogLine:
    materialization = entry.asset_materialization
    asset, partition, numbers = "", "", dict[str, Any]()
    if materialization is not None:
        asset = materialization.asset_key.to_user_string()
        partition = materialization.partition or ""
        numbers = {name: value.value for name, value in materialization.metadata.items()}
    level = entry.level if isinstance(entry.level, int) else 0
    return LogLine(level=level, text=entry.user_message, asset=asset, partition=partition, numbers=numbers)
