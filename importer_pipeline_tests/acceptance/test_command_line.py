"""The importer as people run it: `dagster ...` with a DAGSTER_HOME, against the sandbox over HTTP."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from importer_pipeline.sandbox.faults import FaultPlan, Latency
from importer_pipeline.sandbox.target import Manner, Refusal
from importer_pipeline_tests.support.runs import (
    Finished,
    dagster,
    dagster_home,
    full_sync_command,
    job_command,
    run_config,
)
from importer_pipeline_tests.support.stage import Stage, in_order


@dataclass(frozen=True, kw_only=True)
class FirstRun:
    """A full sync of four clients while contacts change: `revoked` can't be read, `picky` refuses two contacts."""

    stage: Stage
    clients: Path
    home: Path
    finished: Finished
    refused: set[str]
    missing: dict[str, set[str]]
    unchanged: dict[str, int]
    changes: int

    def again(self, *arguments: str, home: bool = True) -> Finished:
        """Run another command with the same clients."""
        return dagster(*arguments, folder=self.stage.folder, clients=self.clients, home=self.home if home else None)

    def full_sync(self, *, home: bool = True, clients: Sequence[str] = (), audiences: Sequence[str] = ()) -> Finished:
        """Run another full sync, of these."""
        config = run_config(clients=clients, audiences=audiences)
        return self.again(*full_sync_command(self.stage.folder, config), home=home)

    def numbers(self, client: str) -> dict[str, Any]:
        """Return the metadata of the newest materialization of a client's newsletter."""
        with dg.DagsterInstance.from_config(str(self.home)) as instance:
            key = dg.AssetKey([client, "newsletter", "contacts"])
            event = instance.get_latest_materialization_event(key)
        if event is None or event.asset_materialization is None:
            return {}
        return {name: value.value for name, value in event.asset_materialization.metadata.items()}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FirstRun]:
    folder = tmp_path_factory.mktemp("command_line")
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    stage = Stage(folder, changes_per_second=50)
    for name in ("steady", "slow", "picky", "revoked"):
        stage.add(name, contacts=3000, still=name == "picky")
    picky = stage.clients["picky"]
    refused = {in_order(picky.lists[0])[position].id for position in (700, 2500)}
    picky.target.refusals = (Refusal.of_ids(refused, Manner.COUNT),)
    # Over one connection, the slow one takes more than five seconds, so that its progress is logged.
    for client in stage.clients.values():
        client.account.fault_plan = FaultPlan(latency=Latency.fixed(0.18))
    with stage:
        declared = stage.declared()
        declared["slow"]["mailchimp"]["max_connections"] = 1
        clients, home = stage.write(declared), dagster_home(folder)
        stage.clients["revoked"].account.secrets.clear()
        began = stage.sandbox.clock() - 1
        command = full_sync_command(folder, run_config(mailchimp={"page_size": 100}))
        finished = dagster(*command, folder=folder, clients=clients, home=home)
        stage.pause()
        synced = ("steady", "slow", "picky")
        missing = {name: stage.missing(name, changed_before=began) for name in synced}
        unchanged = {name: stage.unchanged_since(name, began) for name in synced}
        changes = stage.server.world.stats()["changes"]
        yield FirstRun(
            stage=stage,
            clients=clients,
            home=home,
            finished=finished,
            refused=refused,
            missing=missing,
            unchanged=unchanged,
            changes=changes,
        )


def test_a_run_under_change_imports_all_that_it_can(first: FirstRun) -> None:
    """All is imported except for the revoked client and the two refused contacts, while contacts change."""
    assert first.changes > 100
    assert first.missing == {"steady": set(), "slow": set(), "picky": first.refused}


def test_the_run_fails_with_one_message_that_names_both(first: FirstRun) -> None:
    assert first.finished.code != 0
    _, *printed = first.finished.output.split("dagster._core.definitions.events.Failure: ")
    assert len(printed) == 1
    assert "Stack Trace" not in printed[0]
    heading, *lines = printed[0].partition("\n\n")[0].splitlines()
    assert heading == "Incomplete: 1 of 4 audiences, refused: 2 contacts. Everything else is imported."
    assert sorted(line.split(" ")[1].rstrip(":") for line in lines) == ["picky/newsletter", "revoked/newsletter"]


def test_the_revoked_account_is_asked_ten_times_at_most(first: FirstRun) -> None:
    list_id = first.stage.clients["revoked"].lists[0].list_id
    assert 1 <= first.stage.sandbox.asked_about(list_id) <= 10


def test_the_log_shows_progress_and_each_result(first: FirstRun) -> None:
    line = r"\d+ of \d+ contacts imported, \d+ a second, \d of 4 audiences done"
    assert re.search(line, first.finished.output)
    line = r"steady/newsletter imported: \d+ contacts read( \(and \d+ again, .*?\))?, \d+ accepted, 0 refused"
    assert re.search(line, first.finished.output)


@pytest.mark.parametrize("client", ["steady", "slow", "picky"])
def test_imported_windows_are_in_the_event_log_with_numbers(first: FirstRun, client: str) -> None:
    numbers = first.numbers(client)
    refused = 2 if client == "picky" else 0
    assert numbers["contacts_refused"] == refused
    assert numbers["contacts_read"] >= numbers["contacts_accepted"] >= first.unchanged[client] - refused
    # Changes remove contacts, before the run has begun too, so only the unchanged are known to fill windows of 100.
    assert first.unchanged[client] // 100 <= numbers["windows"] <= numbers["requests"]
    assert numbers["seconds"] > 0
    assert numbers["contacts_per_second"] > 0


def test_windows_not_imported_are_not_in_the_event_log(first: FirstRun) -> None:
    assert first.numbers("revoked") == {}


def test_once_nothing_changes_a_run_imports_everything(first: FirstRun) -> None:
    """A run of the two good clients succeeds, and their targets hold all contacts."""
    with first.stage.sandbox.lock:
        for name in ("steady", "slow"):
            # Changes of the last minute belong to the next snapshot.
            listed = first.stage.clients[name].lists[0]
            now = first.stage.clients[name].account.now()
            listed.restamp([member.id for member in listed if member.changed > now - 100], at=now - 100)
    finished = first.full_sync(clients=["steady"], audiences=["slow/newsletter"])
    assert (finished.code, "Traceback" in finished.output) == (0, False)
    assert [first.stage.missing(name) for name in ("steady", "slow")] == [set(), set()]


def test_an_asset_is_materialized_alone(first: FirstRun) -> None:
    target = first.stage.clients["slow"].target
    before, others = target.stored, first.stage.clients["steady"].target.stored
    finished = first.again("asset", "materialize", "--select", "slow/newsletter/contacts")
    assert finished.code == 0
    assert target.stored - before >= 2900
    assert first.stage.clients["steady"].target.stored == others


def test_windows_are_planned_and_a_range_of_them_is_launched(first: FirstRun) -> None:
    target = first.stage.clients["steady"].target
    stored, config = target.stored, run_config(clients=["steady"], op="register_windows")
    planned = first.again(*job_command("plan_windows", first.stage.folder, config))
    assert (planned.code, target.stored) == (0, stored)
    assert "steady/newsletter has 4 windows left to import" in planned.output
    selection = ("--select", "steady/newsletter/contact_windows", "--partition-range", "0...990")
    launched = first.again("asset", "materialize", *selection)
    assert (launched.code, "Traceback" in launched.output) == (0, False)
    assert sorted(re.findall(r"steady/newsletter window (\S+) imported", launched.output)) == ["0", "990"]
    assert 1980 <= target.stored - stored <= 2010


def test_the_jobs_are_listed(first: FirstRun) -> None:
    finished = first.again("job", "list")
    assert finished.code == 0
    assert {job for job in ("full_sync", "plan_windows") if job in finished.output} == {"full_sync", "plan_windows"}


def test_the_definitions_are_valid(first: FirstRun) -> None:
    assert first.again("definitions", "validate").code == 0


def test_an_unknown_client_fails_at_once_with_the_nearest_names(first: FirstRun) -> None:
    asked = len(first.stage.sandbox.answered)
    finished = first.full_sync(clients=["stedy"])
    assert finished.code != 0
    assert "no client stedy is declared and enabled: did you mean steady?" in finished.output
    assert "Traceback" not in finished.output
    assert "SelectionUnknown" not in finished.output
    assert len(first.stage.sandbox.answered) == asked


def test_without_dagster_home_one_line_warns_with_the_remedy(first: FirstRun) -> None:
    """The line says that nothing is remembered between runs."""
    finished = first.full_sync(clients=["revoked"], home=False)
    lines = [line for line in finished.output.splitlines() if "DAGSTER_HOME is not set" in line]
    assert [line.partition("DAGSTER_HOME is not set")[2] for line in lines] == [
        ": nothing of this run will be remembered. Remedy: export DAGSTER_HOME=<a folder>"
    ]
