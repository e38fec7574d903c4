"""Ten seeds of an import by real runs of Dagster, each in a separate process that may be killed at any request.

The simulation does the same a thousand times over a history in memory; here it is the event log: full syncs, plans,
windows by hand, incremental syncs, with changes and failures in between.
"""

import multiprocessing
from collections.abc import Mapping
from multiprocessing.context import ForkServerContext
from pathlib import Path
from random import Random
from typing import Any

import dagster as dg
import pytest

from importer_pipeline.clients.collection import load_clients
from importer_pipeline.sandbox.faults import Fault, FaultPlan
from importer_pipeline_tests.support.newsletter import Newsletter
from importer_pipeline_tests.support.runs import (
    full_sync,
    import_windows,
    incremental_sync,
    instance_in,
    plan_windows,
    run_config,
)
from importer_pipeline_tests.support.stage import Stage

_CONTEXT: ForkServerContext = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["importer_pipeline_tests.support.runs"])

STARTED, FAILURE, SUCCESS = (
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.SUCCESS,
)


def run(kind: str, folder: Path, clients: Path, config: Mapping[str, Any], keys: tuple[str, ...]) -> None:
    """Execute one run in the present process."""
    with instance_in(folder) as instance:
        declared = load_clients(clients)
        if kind == "windows":
            import_windows(declared, "acme/newsletter", *keys, instance=instance, **config)
        elif kind == "plan":
            plan_windows(declared, run_config(op="register_windows", mailchimp=config), instance=instance)
        elif kind == "changes":
            incremental_sync(declared, run_config(op="import_changes", mailchimp=config), instance=instance)
        else:
            settings = run_config(mailchimp=config, restart=kind == "restart")
            full_sync(declared, settings, instance=instance)


class Life:
    """An audience, the instance that outlives its runs, and events in both."""

    def __init__(self, stage: Stage, folder: Path, seed: int) -> None:
        self.rng = Random(seed)
        self.stage = stage
        self.folder = folder
        self.clients = stage.write()
        self.killed = 0

    def run(self, kind: str, keys: tuple[str, ...] = (), *, may_die: bool) -> None:
        """Start a run that goes to its end, or is killed after so many requests to Mailchimp and the target."""
        process = _CONTEXT.Process(
            target=run, args=(kind, self.folder, self.clients, {"page_size": 30, "retry_pause_seconds": 0.02}, keys)
        )
        last = len(self.stage.sandbox.answered) + self.rng.randint(1, 40) if may_die else None
        process.start()
        while process.is_alive():
            if last is not None and len(self.stage.sandbox.answered) >= last:
                process.kill()
                self.killed += 1
                break
            process.join(0.005)
        process.join()

    def change(self) -> None:
        """Change some contacts."""
        listed = self.stage.clients["acme"].lists[0]
        for member in self.rng.sample(list(listed), 5):
            listed.update(member.contact_id, merge_fields={"FNAME": f"F{self.rng.random()}"})


@pytest.mark.parametrize("seed", range(6))
def test_at_rest_everything_is_imported_whatever_was_killed(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No lock, pool slot or running run is left behind."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    home = tmp_path / "home"
    home.mkdir()
    stage = Stage(tmp_path)
    client = stage.add("acme", contacts=300)
    with stage, instance_in(home) as instance:
        life = Life(stage, home, seed)
        news = Newsletter(stage, instance)
        news.go_back(hours=5)
        client.account.fault_plan = FaultPlan(rates={Fault.ERROR_500: 0.03, Fault.CUT: 0.02})
        for _ in range(life.rng.randint(2, 4)):
            kind = life.rng.choice(("full", "full", "restart", "plan", "windows", "changes"))
            known = instance.get_dynamic_partitions("acme/newsletter/contact_windows")
            keys = tuple(sorted(life.rng.sample(list(known), 1))) if kind == "windows" and known else ()
            life.run(kind if keys or kind != "windows" else "full", keys, may_die=life.rng.random() < 0.7)
            life.change()
            news.let_hours_pass(1)
        client.account.fault_plan = FaultPlan()
        for _ in range(3):
            news.let_hours_pass(1) if client.account.clock_offset_seconds < 0 else None
            life.run("changes", may_die=False)
        statuses = [run.status for run in instance.get_runs()]
        assert news.missing == set()
        assert (statuses[0], STARTED in statuses) == (SUCCESS, False)
        assert statuses.count(FAILURE) >= life.killed or not life.killed
        assert instance.event_log_storage.get_concurrency_info("mailchimp").pending_steps == []
