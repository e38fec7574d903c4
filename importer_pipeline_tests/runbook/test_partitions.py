"""What `dagster` prints about partitions and the quarantine, launched by hand, and about assets of one's own."""

import shutil
import time
import warnings
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import dagster as dg
import pytest
from click.testing import CliRunner
from dagster._cli import create_dagster_cli

from importer_pipeline.listing.hours import HOUR_SECONDS, hour_key
from importer_pipeline.sandbox.faults import FaultPlan, Latency
from importer_pipeline.sandbox.target import Manner, Refusal
from importer_pipeline_tests.cli.commands import Printed, importer
from importer_pipeline_tests.runbook.scenes import config_file, locked_client
from importer_pipeline_tests.support.runbook import is_shown, lines_of
from importer_pipeline_tests.support.runs import dagster_home
from importer_pipeline_tests.support.stage import Stage, in_order

SHOWN = {
    "DAGSTER_HOME is not set: nothing of this run will be remembered. Remedy: export DAGSTER_HOME=<a folder>": "",
    "Mailchimp has nothing at this path": "",
    "Still in the quarantine: …": "",
    "a client's account has several lists": "",
    "expected a path like /lists/1a2d7ebf82/segments": "",
    "no connection to … became free within … s": "slow",
    "no partition of the quarantine is called …": "fine/newsletter/0",
    "not dropped from the quarantine: …, since another sync has the Mailchimp accounts of …": "picky",
    "not in the clients file, so not tried: …": "gone/newsletter",
    "run … ended before it was imported: materialize this partition to retry it": "why this part",
    "the hour … is not over by Mailchimp's clock": "fine/newsletter",
    "the snapshot is …": "changed/newsletter",
    "the snapshot of … has no window …": "fine/newsletter",
    "there are no clients to import: see the warnings above": "",
    "there is no snapshot whose windows could be imported": "unsynced/newsletter",
    "what was known of it is gone from the event log: materialize this partition to import all of it again": "why ",
}

OWN_ASSETS = Path(__file__).with_name("own_assets.py")


class Location:
    """A code location with assets of one's own. A context manager, which serves its clients."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = dagster_home(folder)
        self.said: list[Printed] = []
        self.stage = Stage(folder)
        self.patch = pytest.MonkeyPatch()
        for name in ("changed", "fine", "gone", "picky", "slow", "unsynced"):
            self.stage.add(name, contacts=3)
        self.stage.add("several", contacts=1, audiences=2)
        for name in ("gone", "picky"):
            self.stage.clients[name].target.refusals = (Refusal(manner=Manner.COUNT, refuses=lambda _: True),)
        self.stage.clients["slow"].account.fault_plan = FaultPlan(latency=Latency.fixed(1.0))
        self._loaded = 0

    def __enter__(self) -> Self:
        self.stage.__enter__()
        self.declared = self.stage.declared()
        self.declared["slow"]["mailchimp"]["max_connections"] = 1
        self.patch.setenv("DAGSTER_HOME", str(self.home))
        self.patch.setenv("IMPORTER_CLIENTS", str(self.folder / "clients.yaml"))
        self.patch.setenv("XDG_STATE_HOME", str(self.folder / "state"))
        self.patch.chdir(self.folder)
        self.load()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.patch.undo()
        self.stage.__exit__(kind, error, trace)

    def load(self) -> None:
        """Load the clients that are declared now."""
        self.stage.write(self.declared)
        self._loaded += 1
        file = self.folder / f"location_{self._loaded}.py"
        shutil.copy(OWN_ASSETS, file)
        self.code = ("-f", str(file))

    def dagster(self, *arguments: str) -> None:
        """Run `dagster ...`."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.SupersessionWarning)  # The docs name these commands, which still work.
            ended = CliRunner().invoke(create_dagster_cli(), arguments, prog_name="dagster")
        assert isinstance(ended.exception, SystemExit | None), ended.exception
        self.said.append(Printed(code=ended.exit_code, out=ended.stdout, err=ended.stderr))

    def importer(self, *arguments: str) -> None:
        """Run `importer ...`."""
        self.said.append(importer(*arguments, clients=self.folder / "clients.yaml"))

    def contact(self, name: str) -> str:
        """Return Mailchimp's id of a contact of a client."""
        return in_order(self.stage.clients[name].lists[0])[0].id

    def materialize(self, asset: str, partition: str) -> None:
        """Materialize a partition."""
        self.dagster("asset", "materialize", *self.code, "--select", f"key:{asset}", "--partition", partition)

    def redrive(self, **config: Any) -> None:
        """Run the job that redrives the quarantine."""
        file = config_file(self.folder, "retry_quarantined", **config)
        self.dagster("job", "execute", *self.code, "-j", "redrive_quarantine", "-c", file)

    def register(self, name: str, window: str) -> None:
        """Register a window, as a person can in the UI."""
        with dg.DagsterInstance.from_config(str(self.home)) as instance:
            instance.add_dynamic_partitions(f"{name}/newsletter/contact_windows", [window])

    def locked(self, name: str) -> AbstractContextManager[None]:
        """Lock a client's account as another sync while the `with` block runs."""
        return locked_client(self.folder / "clients.yaml", name)


def launched(folder: Path) -> list[str]:
    """Launch partitions, redrives and assets of one's own."""
    with Location(folder) as location:
        location.importer("sync", "--full", "changed", "fine", "gone", "picky")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_STATE_HOME", __file__)
            location.materialize("fine/newsletter/contact_windows", "0")
        location.register("unsynced", "0")
        location.materialize("unsynced/newsletter/contact_windows", "0")
        location.register("fine", "990")
        location.materialize("fine/newsletter/contact_windows", "990")
        location.redrive(partitions=["fine/newsletter/0"])
        location.importer("explain", "fine", location.contact("fine"))
        with location.locked("picky"):
            location.redrive(forget=True, partitions=["picky/newsletter/contact_windows/0"])
        location.dagster(
            "asset",
            "materialize",
            *location.code,
            "--select",
            "of_several_lists,with_a_query,of_nothing,beside_another",
        )
        del location.declared["gone"]
        location.declared["changed"]["audiences"]["newsletter"]["record"] = {"firstname": "merge_fields.LNAME"}
        location.load()
        location.materialize("changed/newsletter/contact_windows", "0")
        location.redrive()
        location.dagster("asset", "wipe", "--noprompt", "quarantine")
        location.importer("explain", "picky", location.contact("picky"))
        location.stage.clients["fine"].account.clock_offset_seconds = -2 * HOUR_SECONDS
        location.materialize("fine/newsletter/contact_changes", hour_key(int(time.time()) - HOUR_SECONDS))
        location.patch.delenv("DAGSTER_HOME")
        location.patch.setenv("HOME", str(folder))  # Where Dagster's telemetry leaves an id, without any settings.
        location.redrive()
        location.declared = {"fine": {**location.declared["fine"], "enabled": False}}
        location.load()
        location.dagster("job", "execute", *location.code, "-j", "full_sync")
    return lines_of(*location.said)


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return launched(tmp_path_factory.mktemp("partitions"))


@pytest.mark.parametrize("symptom", sorted(SHOWN))
def test_dagster_says_why_nothing_was_imported(lines: list[str], symptom: str) -> None:
    assert is_shown(lines, symptom, SHOWN[symptom])
