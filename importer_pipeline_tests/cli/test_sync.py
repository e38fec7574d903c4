"""`importer sync`, against the sandbox: in this process, and interrupted in one of its own."""

import io
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from importer_pipeline.cli.progress import LINE_SECONDS, ProgressPrinter, bar, clock_time, figures
from importer_pipeline.clients.collection import load_clients
from importer_pipeline.engine.outcomes import Progress
from importer_pipeline.locks.files import FileAccountLocks, default_folder
from importer_pipeline.runner.importing import account_identity
from importer_pipeline.sandbox.children import environment
from importer_pipeline.sandbox.target import Manner, Refusal
from importer_pipeline_tests.cli.commands import Printed, importer
from importer_pipeline_tests.support.held_client import held_client
from importer_pipeline_tests.support.patience import ended
from importer_pipeline_tests.support.runs import ROOT, new_instance
from importer_pipeline_tests.support.stage import Stage, in_order


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """Three clients: one is fine, the target of one refuses a contact, the key of one is wrong."""

    stage: Stage
    instance: dg.DagsterInstance

    def sync(self, *arguments: str, config: str = "", **variables: str) -> Printed:
        """Run `importer sync` there, perhaps with the config of a run."""
        path = self.stage.folder / "run.yaml"
        path.write_text(config, encoding="utf-8")
        more = ["--config", str(path)] if config else []
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DAGSTER_HOME", self.instance.root_directory)
            for name, value in variables.items():
                patch.setenv(name, value)
            return importer("sync", *arguments, *more, clients=self.stage.folder / "clients.yaml")


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    stage = Stage(tmp_path_factory.mktemp("sync"))
    for name in ("fine", "picky", "revoked"):
        stage.add(name, contacts=40)
    picky = stage.clients["picky"]
    picky.target.refusals = (Refusal.of_ids([in_order(picky.lists[0])[3].id], Manner.COUNT),)
    with stage, new_instance(tmp_path_factory) as instance:
        Path(instance.root_directory, "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
        declared = stage.declared()
        declared["revoked"]["mailchimp"]["api_key"] = stage.secret("wrong", f"{5:032x}-us1")
        stage.write(declared)
        yield Deployment(stage=stage, instance=instance)


@pytest.fixture(scope="module")
def full(deployment: Deployment) -> Printed:
    return deployment.sync("--full")


def test_a_full_sync_ends_with_a_table_and_what_to_do(deployment: Deployment, full: Printed) -> None:
    assert (full.code, full.err) == (1, "")
    assert full.out.startswith("full_sync of 3 audiences; Ctrl-C stops it, and it can be resumed\n")
    table = full.out[full.out.index("state ") :].splitlines()
    assert [line.split()[:3] for line in table[1:4]] == [
        ["INCOMPLETE", "revoked/newsletter", "-"],
        ["ok", "fine/newsletter", "2"],
        ["ok", "picky/newsletter", "2"],
    ]
    assert "2 of 3 audiences imported; contacts accepted: 79" in full.out
    assert "check the client's mailchimp secret" in full.out
    assert "picky/newsletter contact " in full.out
    assert len(deployment.stage.clients["fine"].target.records) == 40


def test_nothing_of_dagster_is_printed(full: Printed) -> None:
    for internal in ("Traceback", "Stack Trace", "STEP_", "dagster -", "import_contacts", ".py"):
        assert internal not in full.out


def test_the_run_is_an_ordinary_one_of_dagster(deployment: Deployment, full: Printed) -> None:
    (run,) = deployment.instance.get_runs(dg.RunsFilter(job_name="full_sync"))
    assert (run.status, run.tags["importer_pipeline/shard"]) == (dg.DagsterRunStatus.FAILURE, "0/1")
    assert f"Run {run.run_id} of full_sync, failed" in full.out


def test_an_incremental_sync_is_read_by_programs(deployment: Deployment, full: Printed) -> None:
    printed = deployment.sync("fine", "picky/newsletter", "--json")
    assert full.code != printed.code == 0
    assert (printed.document["job"], printed.document["end"]) == ("incremental_sync", "succeeded")
    assert [(it["audience"], it["state"]) for it in printed.document["audiences"]] == [
        ("fine/newsletter", "imported"),
        ("picky/newsletter", "imported"),
    ]


def test_a_busy_account_is_left_out_and_named(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (fine,) = [it for it in load_clients(deployment.stage.folder / "clients.yaml").clients if it.name == "fine"]
    locks = FileAccountLocks(default_folder())
    assert locks.take({account_identity(fine)})
    printed = deployment.sync("fine", config="ops: {import_changes: {config: {busy_patience_seconds: 0.1}}}")
    locks.release_all()
    assert printed.code == 1
    assert "waiting for other syncs of the Mailchimp accounts of fine" in printed.out
    assert "- fine/newsletter is left to a later run: another sync has its Mailchimp account" in printed.out


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            "ops: {import_changes: {config: {clientz: [fine]}}}",
            "- ops.import_changes.config has no key clientz: did you mean clients? it takes audiences, ",
        ),
        ("resource: {}", "- the top level has no key resource: did you mean resources?"),
        ("ops: {import_changes: {config: {newcomers: 5}}}", "- ops.import_changes.config.newcomers: expected another"),
        ("ops: [", "line 1 can't be read as YAML (ParserError)"),
    ],
)
def test_a_mistake_in_the_config_of_a_run_is_two_lines(deployment: Deployment, config: str, said: str) -> None:
    """Dagster prints the schema of the whole config, and a stack trace."""
    printed = deployment.sync(config=config)
    assert (printed.code, printed.err.count("\n")) == (2, 2)
    assert said in printed.err


def test_a_value_out_of_bounds_ends_the_run_with_its_bound(deployment: Deployment) -> None:
    printed = deployment.sync("fine", config="resources: {mailchimp: {config: {page_size: 5}}}")
    assert printed.code == 1
    assert "out of bounds: page_size Input should be greater than or equal to 30\n" in printed.out


def test_a_client_of_another_shard_is_refused(deployment: Deployment) -> None:
    shards = ["0/2", "1/2"]
    printed = [deployment.sync("fine", IMPORTER_SHARD=shard, config="resource: {}").err for shard in shards]
    assert ["fine belongs to another shard than" in it for it in printed].count(True) == 1


def test_ctrl_c_cancels_the_run_and_the_bar_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with held_client(tmp_path) as client:
        client.hold(after_pages=10, seconds=2)
        config = tmp_path / "run.yaml"
        config.write_text("resources: {mailchimp: {config: {page_size: 30}}}", encoding="utf-8")
        home = Path(client.commands.instance.root_directory)
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "importer_pipeline", "sync", "--full", "--config", str(config)], cwd=tmp_path,
            env=environment(tmp_path / "clients.yaml", dagster_home=home) | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        printed = ""
        for read in _read(ours):
            is_first = "[#" not in printed
            printed += read
            if is_first and "[#" in printed:
                os.killpg(process.pid, signal.SIGINT)  # As a terminal does: all that was started gets it.
        assert ended(process) == 1
        assert client.commands.statuses == [dg.DagsterRunStatus.CANCELED]
    assert "Stopped. What was imported is recorded; the same command resumes from there." in printed
    assert "Traceback" not in printed


def _read(terminal: int) -> Iterator[str]:
    """Yield what is printed to a terminal, as it is printed, until it is closed, which Linux reports as an error."""
    with os.fdopen(terminal, "rb", buffering=0) as read:
        while True:
            try:
                found = read.read(4096)
            except OSError:
                return
            if not found:
                return
            yield found.decode(errors="replace")


_HALF = Progress(contacts=40_000, accepted=20_000, audiences=4, open_audiences=3)


def test_the_figures_tell_the_rate_and_the_time_left() -> None:
    said = figures(_HALF, contacts_per_second=800.0)
    assert said == "20,000 of 40,000 contacts, 1 of 4 audiences, 800 a second, 0:25 left"
    assert figures(_HALF, contacts_per_second=0.0) == "20,000 of 40,000 contacts, 1 of 4 audiences"


@pytest.mark.parametrize(("width", "hashes"), [(120, 20), (90, 9), (40, 0)])
def test_the_bar_fits_the_terminal(width: int, hashes: int) -> None:
    line = bar(_HALF, contacts_per_second=800.0, width=width)
    assert (line.count("#"), len(line) <= width) == (hashes, True)


@pytest.mark.parametrize(("seconds", "said"), [(0, "0:00"), (59.6, "1:00"), (760, "12:40"), (11100, "3:05:00")])
def test_a_time_is_shown_as_on_a_clock(seconds: float, said: str) -> None:
    assert clock_time(seconds) == said


def test_without_a_terminal_there_is_a_line_every_few_seconds() -> None:
    now, stream = [0.0], io.StringIO()
    printer = ProgressPrinter(stream, clock=lambda: now[0])
    for second in range(31):
        now[0] = float(second)
        printer.progressed(lambda: Progress(contacts=1000, accepted=int(now[0]) * 10, audiences=1, open_audiences=1))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 30 / LINE_SECONDS
    assert lines[-1] == "300 of 1,000 contacts, 0 of 1 audiences, 10 a second, 1:10 left"
