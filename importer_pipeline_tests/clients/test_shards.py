"""Shares of the clients: each client in one, few that move, and what all shards have in common."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from importer_pipeline.clients.collection import Clients
from importer_pipeline.clients.shards import Shard, parse_shard
from importer_pipeline.definitions import build_defs
from importer_pipeline.defs.names import QUARANTINE_KEY, SHARD_TAG
from importer_pipeline.defs.settings import Settings
from importer_pipeline.sandbox.target import Manner, Refusal
from importer_pipeline_tests.support.runs import ran_of, run_config
from importer_pipeline_tests.support.stage import Stage, in_order

ACCOUNTS = [f"client-{number}" for number in range(2000)]
NAMES = [f"client-{number}" for number in range(12)]


def shards(count: int) -> list[Shard]:
    return [Shard(index, count) for index in range(count)]


def owner(account: str, count: int) -> int:
    (found,) = [shard.index for shard in shards(count) if shard.takes(account)]
    return found


@given(st.text(max_size=80), st.integers(1, 40))
def test_an_account_has_one_shard_and_moves_only_to_a_new_one(account: str, count: int) -> None:
    assert owner(account, count + 1) in {owner(account, count), count}


@pytest.mark.parametrize("count", [1, 2, 7, 20])
def test_shards_have_about_the_same_size(count: int) -> None:
    """Another shard takes its part from all of them."""
    sizes = Counter(owner(account, count) for account in ACCOUNTS)
    fair = len(ACCOUNTS) / count
    assert all(abs(sizes[index] - fair) < 5 * fair**0.5 + 1 for index in range(count))
    moved = sum(owner(account, count) != owner(account, count + 1) for account in ACCOUNTS)
    assert moved < len(ACCOUNTS) / (count + 1) * 1.2


def test_it_is_the_same_on_every_machine() -> None:
    assert [owner(name, 4) for name in ("acme", "globex", "hooli", "initech", "umbrella")] == OWNERS


OWNERS = [2, 2, 3, 2, 2]


@pytest.mark.parametrize(("written", "shard"), [("0/1", Shard()), ("3/20", Shard(3, 20)), ("20/20", None), ("x", None)])
def test_a_shard_is_written_with_how_many_there_are(written: str, shard: Shard | None) -> None:
    assert parse_shard(written) == shard
    if shard is not None:
        assert str(shard) == written


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """Yield a dozen clients."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    made = Stage(tmp_path)
    for name in NAMES:
        made.add(name, contacts=20)
    with made:
        yield made


def definitions(clients: Clients, shard: Shard) -> dg.Definitions:
    return build_defs(clients, Settings(shard=shard))


def groups(made: dg.Definitions) -> set[str]:
    """Return the clients that a code location shows."""
    return {key.path[0] for key in made.resolve_asset_graph().get_all_asset_keys() if len(key.path) == 3}


def test_each_client_is_in_one_shard(stage: Stage) -> None:
    """The first shard has the quarantine."""
    clients = stage.load(stage.on_own_accounts())
    made = [definitions(clients, shard) for shard in shards(3)]
    shown = [groups(each) for each in made]
    assert sorted(name for each in shown for name in each) == sorted(NAMES)
    assert all(shown)
    jobs = [{job.name for job in each.resolve_all_job_defs() if not job.name.startswith("__")} for each in made]
    every = {"check_clients", "full_sync", "incremental_sync", "plan_windows"}
    assert jobs[0] - jobs[1] == {"redrive_quarantine", "prune_history"}
    assert jobs[1] == jobs[2] == every
    assert [QUARANTINE_KEY in each.resolve_asset_graph().get_all_asset_keys() for each in made] == [True, False, False]
    sensors = [{sensor.name for sensor in each.sensors or ()} for each in made]
    assert sensors[0] == {"client_alerts", "report_dead_runs", "quarantine_failed_partitions"}
    assert sensors[1] == sensors[2] == {"client_alerts", "report_dead_runs"}
    assert all({it.name for it in each.schedules or ()} >= {"hourly_sync", "hourly_first_sync"} for each in made)


def test_clients_on_one_account_are_in_one_shard(stage: Stage) -> None:
    declared = stage.declared()
    for client in declared.values():
        client["mailchimp"]["account"] = "shared"
    clients = stage.load({name: declared[name] for name in NAMES[:1]})
    (alone,) = [shard for shard in shards(5) if groups(definitions(clients, shard))]
    assert alone.takes("shared")


def run(stage: Stage, instance: dg.DagsterInstance, job: str, op: str, shard: Shard) -> bool:
    made = definitions(stage.load(stage.on_own_accounts()), shard)
    result = made.resolve_job_def(job).execute_in_process(
        instance=instance, run_config=run_config(op=op), raise_on_error=False
    )
    return ran_of(result, instance).success


def test_adding_shards_loses_nothing_and_reads_nothing_twice(stage: Stage, instance: dg.DagsterInstance) -> None:
    assert all(run(stage, instance, "full_sync", "import_contacts", shard) for shard in shards(2))
    read = len(stage.sandbox.answered)
    assert all(run(stage, instance, "incremental_sync", "import_changes", shard) for shard in shards(3))
    assert {name: stage.missing(name) for name in NAMES} == {name: set() for name in NAMES}
    # No shard takes one of them for an unsynced audience: the chain of each goes on, with at most a page of either kind
    # of contacts.
    again = [request for request in stage.sandbox.answered[read:] if "/members" in request.path]
    assert [request.query for request in again if "since_last_changed" not in request.query] == []
    assert len(again) <= 2 * len(NAMES)


def test_the_first_shard_redrives_failures_of_other_shards(stage: Stage, instance: dg.DagsterInstance) -> None:
    name = next(
        name
        for name in NAMES
        if Shard(1, 2).takes(stage.load(stage.on_own_accounts()).select([name], [])[0][0].account)
    )
    client = stage.clients[name]
    refused = in_order(client.lists[0])[3].id
    client.target.refusals = (Refusal.of_ids({refused}, Manner.REJECT),)
    assert not run(stage, instance, "full_sync", "import_contacts", Shard(1, 2))
    (partition,) = instance.get_dynamic_partitions("quarantine")
    assert partition.startswith(f"{name}/")
    client.target.refusals = ()
    job = definitions(stage.load(stage.on_own_accounts()), Shard(0, 2)).resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(
        instance=instance, asset_selection=[QUARANTINE_KEY], partition_key=partition, raise_on_error=False
    )
    assert ran_of(result, instance).success
    assert instance.get_dynamic_partitions("quarantine") == []
    assert stage.missing(name) == set()


def test_a_run_of_another_shard_is_no_reason_to_wait(stage: Stage, instance: dg.DagsterInstance) -> None:
    clients = stage.load(stage.on_own_accounts())
    other, own = (definitions(clients, shard) for shard in shards(2))
    job = other.resolve_job_def("incremental_sync")
    begun = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=job.run_tags)
    assert begun.tags[SHARD_TAG] == "0/2"
    for made, skipped in ((own, False), (other, True)):
        with dg.build_schedule_context(instance=instance) as context:
            tick = made.resolve_schedule_def("hourly_sync").evaluate_tick(context)
            assert bool(tick.skip_message) is skipped


def test_a_shard_without_clients_starts_nothing(stage: Stage, instance: dg.DagsterInstance) -> None:
    clients = stage.load({NAMES[0]: stage.on_own_accounts()[NAMES[0]]})
    (empty,) = [shard for shard in shards(2) if not shard.takes(NAMES[0])]
    made = definitions(clients, empty)
    for name in ("hourly_sync", "hourly_first_sync"):
        with dg.build_schedule_context(instance=instance) as context:
            tick = made.resolve_schedule_def(name).evaluate_tick(context)
            assert (tick.run_requests, tick.skip_message) == ([], "there are no clients here to import")
