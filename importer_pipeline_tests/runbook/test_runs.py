"""What `importer sync` prints about runs that begin too early, are held up, or end before their work is done."""

import uuid
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Self

import dagster as dg
import pytest

from importer_pipeline.defs.dead_runs import MARK_TAG
from importer_pipeline.defs.locking import run_locks
from importer_pipeline.listing.hours import HOUR_SECONDS
from importer_pipeline.locks.files import default_folder
from importer_pipeline.sandbox.faults import REFUSED, FaultPlan, Latency, Rule
from importer_pipeline_tests.cli.commands import Printed, importer
from importer_pipeline_tests.runbook import targets
from importer_pipeline_tests.runbook.scenes import config_file, locked_client
from importer_pipeline_tests.support.runbook import is_shown, lines_of
from importer_pipeline_tests.support.runs import dagster_home
from importer_pipeline_tests.support.stage import Declared, Stage, half_past

STARTED = dg.DagsterRunStatus.STARTED

SHOWN = {
    "As in the last run, for the same reason: …": "known/newsletter",
    "a lock file in … was removed or replaced while held: another sync may have its account": "",
    "hour …": "unread/newsletter",
    "left to a later run: …. Another sync has the Mailchimp account; nothing is lost by it": "busy",
    "nobody will notice if this run's process is killed, since …": "",
    "other users can change the folder … for lock files (…), and so remove a lock": "",
    "run … stood as running, but its process is gone: it is reported as ended": "",
    "the folder … for lock files can't be used (…)": "",
    "the run ended with an unforeseen error (…): see the log of the run in Dagster": "",
    "the run reached its time limit of … minutes": "limited/newsletter",
    "waiting for other syncs of the Mailchimp accounts of …": "busy",
    "… (… left)": "known/newsletter",
}
"""The place that each message names, if it names one."""

CHANGES, CONTACTS = "import_changes", "import_contacts"
LATE = {"busy": 8, "known": 8, "limited": 8, "newly": 8, "unread": 1}
"""How many hours are over since the full sync of a client."""


class Scene:
    """Clients in trouble. A context manager, which serves them, with lock files and a DAGSTER_HOME of their own.

    Args:
        folder: for all files.

    Attributes:
        said: what each sync has printed.
        home: the folder of DAGSTER_HOME.
    """

    def __init__(self, folder: Path) -> None:
        self.said: list[Printed] = []
        self.home = dagster_home(folder)
        self._folder = folder
        self._stage = Stage(folder)
        self._patch = pytest.MonkeyPatch()
        for name in LATE:
            self._stage.add(name, contacts=3)
        for name in ("tidied", "dropped"):
            self._stage.add(name, contacts=70)
        # Lock files are looked at ten times a second, so the sync must go on for longer than that.
        self._stage.clients["tidied"].account.fault_plan = FaultPlan(latency=Latency.fixed(0.2))

    def __enter__(self) -> Self:
        self._stage.__enter__()
        self._patch.setenv("DAGSTER_HOME", str(self.home))
        self.keep_locks_in(self._folder / "state")
        declared = self._stage.declared()
        declared["tidied"]["target"] = python_target("LockRemover", folder=default_folder())
        database = self.home / "history" / "runs" / "index.db"
        declared["dropped"]["target"] = python_target("TableDropper", database=database, table="asset_keys")
        self._clients = self._stage.write(declared)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._patch.undo()
        self._stage.__exit__(kind, error, trace)

    def sync(self, *names: str, is_full: bool = False, page_size: int = 1000, **config: float) -> None:
        """Run `importer sync` for clients."""
        op = CONTACTS if is_full else CHANGES
        file = config_file(self._folder, op, mailchimp={"page_size": page_size}, **config)
        full = ["--full"] if is_full else []
        self.said.append(importer("sync", *names, *full, "--config", file, clients=self._clients))

    def keep_locks_in(self, folder: Path) -> None:
        """Keep the lock files below another folder from now on."""
        self._patch.setenv("XDG_STATE_HOME", str(folder))

    def go_back(self) -> None:
        """Move the clocks of late clients back."""
        for name, hours in LATE.items():
            self._stage.clients[name].account.clock_offset_seconds = half_past(hours_ago=hours)

    def let_hours_pass(self) -> None:
        """Move the clocks of late clients forward."""
        for name, hours in LATE.items():
            self._stage.clients[name].account.clock_offset_seconds += hours * HOUR_SECONDS

    def revoke(self, name: str) -> None:
        """Revoke the key of a client."""
        self._stage.clients[name].account.secrets.clear()

    def refuse_archived(self, name: str) -> None:
        """Let Mailchimp refuse requests for archived contacts of a client."""
        rule = Rule(applies=lambda request: request.query.get("status") == "archived", fault=REFUSED)
        self._stage.clients[name].account.fault_plan = FaultPlan(rules=(rule,))

    def locked(self, name: str) -> AbstractContextManager[None]:
        """Lock a client's account as another sync while the `with` block runs."""
        return locked_client(self._clients, name)


def python_target(name: str, **options: object) -> Declared:
    """Declare a target in Python."""
    options = {key: str(value) for key, value in options.items()}
    return {"python": f"{targets.__name__}:{name}", "record": {"id": "id"}, "options": options}


def leave_a_dead_run(home: Path) -> None:
    """Leave a run that stands as running, and whose lock nobody holds."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        run_id = str(uuid.uuid4())
        tags = {MARK_TAG: run_locks(instance).mark(run_id)}
        instance.add_run(dg.DagsterRun(job_name="full_sync", run_id=run_id, status=STARTED, tags=tags))


def ran(folder: Path) -> list[str]:
    """Run syncs of which each has another problem."""
    with Scene(folder) as scene:
        scene.go_back()
        scene.sync(*LATE, is_full=True)
        scene.let_hours_pass()
        leave_a_dead_run(scene.home)
        scene.revoke("known")
        scene.refuse_archived("unread")
        scene.sync("known", "newly", "unread")
        scene.revoke("newly")
        scene.sync("known", "newly")
        with scene.locked("busy"):
            scene.sync("limited", "busy", within_minutes=0.0001)
        scene.sync("tidied", is_full=True, page_size=30)
        default_folder().chmod(0o777)
        scene.sync("limited")
        scene.keep_locks_in(Path(__file__))
        scene.sync("limited")
        scene.keep_locks_in(folder / "other")
        scene.sync("dropped", is_full=True, page_size=30)
    return lines_of(*scene.said)


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return ran(tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize("symptom", sorted(SHOWN))
def test_a_sync_says_what_held_it_up_or_ended_it(lines: list[str], symptom: str) -> None:
    assert is_shown(lines, symptom, SHOWN[symptom])
