"""The state of the clients as Dagster shows it: the status asset with its checks, and a check of each audience."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from importer_pipeline.definitions import build_defs
from importer_pipeline.defs.names import contacts_key, up_to_date_key
from importer_pipeline.defs.settings import Settings
from importer_pipeline.defs.status_events import read_reported
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline_tests.conftest import NewInstance
from importer_pipeline_tests.defs.declared import client, declared
from importer_pipeline_tests.support.clients_in_trouble import ClientsInTrouble
from importer_pipeline_tests.support.runs import Ran, materialize, new_instance

STATUS = dg.AssetKey("sync_status")
CLIENTS = declared(client("acme"))


@pytest.fixture
def instance(request: pytest.FixtureRequest, instance_of: NewInstance) -> Iterator[dg.DagsterInstance]:
    """Return one with SQLite, unless a test asks for another: how evaluations are stored is a test of its own."""
    with instance_of(getattr(request, "param", "sqlite")) as made:
        yield made


@pytest.fixture
def some(tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Iterator[ClientsInTrouble]:
    """Return eight clients, all synced in full: one late, one revoked since, three with a refused contact."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with ClientsInTrouble(tmp_path, instance, clients=8) as made:
        yield made


@pytest.fixture(scope="module")
def same(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClientsInTrouble]:
    """Return such clients for tests that mend and break nothing, so that they need no full sync each."""
    folder = tmp_path_factory.mktemp("same")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        with new_instance(tmp_path_factory) as instance, ClientsInTrouble(folder, instance, clients=8) as made:
            yield made


def shown_checks(instance: dg.DagsterInstance, key: dg.AssetKey, *names: str) -> dict[str, tuple[bool, str]]:
    """The newest evaluation of each of these checks: whether it passed, and its text."""
    records = instance.event_log_storage.get_latest_asset_check_execution_by_key(
        [dg.AssetCheckKey(key, name) for name in names]
    )
    found = {key.name: record.evaluation for key, record in records.items()}
    return {name: (it.passed, it.description or "") for name, it in found.items() if it is not None}


def up_to_date(some: ClientsInTrouble) -> dict[str, tuple[bool, str]]:
    """The newest evaluation of each client's check."""
    names = [AudienceName(client, "newsletter") for client in some.stage.clients]
    return {name.client: shown_checks(some.instance, contacts_key(name), "up_to_date")["up_to_date"] for name in names}


def numbers(ran: Ran, *names: str) -> Mapping[str, Any]:
    found = ran.numbers("sync_status")
    return {name: found[name] for name in names}


def test_status_and_checks_name_exactly_the_clients_in_trouble(same: ClientsInTrouble) -> None:
    ran = same.incremental_sync()
    assert numbers(
        ran, "audiences_in_time", "audiences_late", "audiences_failing", "quarantine_entries", "quarantine_contacts"
    ) == {
        "audiences_in_time": 6, "audiences_late": 1, "audiences_failing": 1, "quarantine_entries": 3,
        "quarantine_contacts": 3,
    }  # fmt: skip
    rows = [dict(record.data) for record in ran.numbers("sync_status")["worst_audiences"].records]
    assert [row["client"] for row in rows[:5]] == [same.revoked, same.late, *sorted(same.refused)]
    assert "Mailchimp refuses the key" in str(rows[0]["reason"])
    assert rows[0]["remedy"]
    checks = shown_checks(same.instance, STATUS, "on_time", "complete", "accepted", "quarantine_empty", "keys_accepted")
    assert {name for name, (passed, _) in checks.items() if passed} == {"complete", "accepted"}
    assert checks["keys_accepted"][1] == f"not those of {same.revoked}/newsletter (KeyRefused)"
    assert all(f"{client}/newsletter" in checks["quarantine_empty"][1] for client in same.refused)
    red = {client: text for client, (passed, text) in up_to_date(same).items() if not passed}
    assert set(red) == {same.revoked, same.late}
    assert red[same.revoked].startswith("failing (Mailchimp refuses the key")
    assert red[same.late].startswith("late (nothing has been imported for more than 3 hours")
    assert all("; imported up to 20" in text for text in red.values())


def test_a_known_failure_is_listed_and_a_new_one_is_red(some: ClientsInTrouble) -> None:
    first = some.incremental_sync()
    assert not first.success
    assert first.said(f"new since the last run: 2\n- {some.revoked}/newsletter: failing")
    second = some.incremental_sync()
    assert (second.success, up_to_date(some)[some.revoked][0]) == (True, False)
    assert second.said("as in the last run: 2")
    assert numbers(second, "audiences_failing", "audiences_newly_in_trouble") == {
        "audiences_failing": 1, "audiences_newly_in_trouble": 0,
    }  # fmt: skip
    some.revoke(some.well)
    third = some.incremental_sync()
    assert not third.success
    assert f"- {some.well}/newsletter" in third.message
    assert third.message.endswith(f"As in the last run, for the same reason: {some.revoked}/newsletter")
    some.mend()
    assert some.redrive().success
    last = some.incremental_sync()
    assert last.success
    assert numbers(last, "audiences_in_time", "audiences_recovered") == {
        "audiences_in_time": 8, "audiences_recovered": 3,
    }  # fmt: skip
    assert all(passed for passed, _ in up_to_date(some).values())


def test_by_a_setting_a_known_failure_is_red_each_time(same: ClientsInTrouble) -> None:
    settings = Settings(known_failures="red")
    assert [same.incremental_sync(settings=settings).success for _ in range(2)] == [False, False]


@pytest.mark.parametrize("instance", ["sqlite", "postgres"], indirect=True)
def test_a_quiet_hour_evaluates_no_audience_again(some: ClientsInTrouble) -> None:
    some.incremental_sync()
    before = read_reported(some.instance, some.names)
    ran = some.incremental_sync()
    assert read_reported(some.instance, some.names) == before
    evaluated = some.instance.all_logs(ran.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    assert len(evaluated) == 5  # Those of the status asset.
    assert not some.instance.all_logs(ran.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED)


def test_a_client_that_never_worked_is_red_a_new_one_yellow(some: ClientsInTrouble) -> None:
    some.mend()
    fresh = some.stage.add("fresh", contacts=5)
    some.clients = some.stage.load()
    some.incremental_sync(newcomers=False)
    (evaluation,) = some.evaluations("fresh")
    assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.WARN)
    fresh.account.secrets.clear()
    some.full_sync(clients=["fresh"])
    (evaluation,) = some.evaluations("fresh")
    assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "Mailchimp refuses the key" in (evaluation.description or "")
    assert "never imported" in (evaluation.description or "")


def test_a_check_by_itself_evaluates_and_requests_nothing(same: ClientsInTrouble) -> None:
    asked = len(same.stage.sandbox.answered)
    key = up_to_date_key(AudienceName(same.late, "newsletter"))
    job = dg.define_asset_job("check", selection=dg.AssetSelection.checks(key))
    definitions = dg.Definitions.merge(build_defs(same.clients), dg.Definitions(jobs=[job]))
    assert definitions.resolve_job_def("check").execute_in_process(instance=same.instance).success
    assert len(same.stage.sandbox.answered) == asked
    assert up_to_date_of(same, same.late).startswith("late")


def up_to_date_of(some: ClientsInTrouble, client: str) -> str:
    (evaluation,) = some.evaluations(client)
    return evaluation.description or ""


def test_materializing_contacts_evaluates_its_check(same: ClientsInTrouble) -> None:
    key = contacts_key(AudienceName(same.well, "newsletter"))
    assert materialize(same.clients, [key], instance=same.instance).success
    assert up_to_date_of(same, same.well).startswith("well; imported up to")


def test_a_run_of_one_client_reports_all(same: ClientsInTrouble) -> None:
    same.incremental_sync()
    ran = same.incremental_sync(clients=[same.well])
    assert ran.success
    assert numbers(ran, "audiences_in_time", "audiences_failing") == {"audiences_in_time": 6, "audiences_failing": 1}


def test_each_shard_has_a_status_of_its_own() -> None:
    keys = {
        key
        for index in range(2)
        for key in build_defs(CLIENTS, Settings.model_validate({"shard": f"{index}/2"}))
        .resolve_asset_graph()
        .get_all_asset_keys()
        if key.path[0] == "sync_status"
    }
    assert keys == {dg.AssetKey(["sync_status", "0"]), dg.AssetKey(["sync_status", "1"])}


def test_only_the_status_has_a_freshness_policy() -> None:
    graph = build_defs(CLIENTS, Settings(hourly="on")).resolve_asset_graph()
    with_policy = {node.key: node.freshness_policy for node in graph.asset_nodes if node.freshness_policy is not None}
    assert with_policy == {STATUS: dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=3))}
