"""Accounts with dead keys, tick after tick: asked once a day, and by whoever starts a sync by hand."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from importer_pipeline.clients.shards import Shard
from importer_pipeline.definitions import build_defs
from importer_pipeline.defs.names import status_key
from importer_pipeline.defs.paused_accounts import account_label, read_refused, refused_metadata
from importer_pipeline.defs.settings import Settings
from importer_pipeline.planning.pausing import RefusedAccount
from importer_pipeline_tests.cli.commands import importer
from importer_pipeline_tests.conftest import NewInstance
from importer_pipeline_tests.support.runs import Ran, full_sync, incremental_sync, run_config
from importer_pipeline_tests.support.stage import Stage

SETTINGS = Settings(pause_after_failures=2)
DAY = 24 * 3600.0


class Paused:
    """Acme and umbrella share an account, whose key is revoked after a full sync; fresh has never had a key that works.

    Globex is well.
    """

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.stage = Stage(folder)
        for name in ("acme", "umbrella", "globex", "fresh"):
            self.stage.add(name, contacts=5)

    def load(self) -> None:
        declared = self.stage.declared()
        shared = self.stage.clients["acme"].account.add_list("aaaaaaaaaa", name="newsletter")
        shared.fill(5, changed_between=(0, 1), archived_share=0, seed=1)
        declared["umbrella"]["mailchimp"] = declared["acme"]["mailchimp"]
        declared["umbrella"]["audiences"]["newsletter"]["list_id"] = "aaaaaaaaaa"
        self.clients = self.stage.load(declared)
        self.keys = {name: set(self.stage.clients[name].account.secrets) for name in ("acme", "fresh")}
        self.stage.clients["fresh"].account.secrets.clear()
        full_sync(self.clients, run_config(), instance=self.instance)
        self.stage.clients["acme"].account.secrets.clear()

    def tick(self, **config: Any) -> Ran:
        """Run what the schedule runs."""
        made = run_config(op="import_changes", newcomers=False, leave_paused=True, **config)
        return incremental_sync(self.clients, made, instance=self.instance, settings=SETTINGS)

    def asked(self) -> set[str]:
        """Return whose lists were requested since this was last called."""
        sandbox = self.stage.sandbox
        lists = {
            name: next(iter(client.audiences)).list_id
            for name, client in ((it.name, it) for it in self.clients.clients)
        }
        found = {name for name, list_id in lists.items() if sandbox.asked_about(list_id)}
        sandbox.answered.clear()
        return found

    def a_day_passes(self) -> None:
        """Let a status say that the accounts were last asked a day ago."""
        known = read_refused(self.instance, [Shard()]).values()
        self.report([replace(it, asked_at=it.asked_at - DAY) for it in known])

    def pause(self) -> None:
        """Let a status say that the accounts with revoked keys are paused."""
        accounts = {account_label(client): client.name for client in self.clients.clients if client.name != "globex"}
        self.report(
            [
                RefusedAccount(account=account, clients=(name,), ticks=2, since=time.time(), asked_at=time.time())
                for account, name in accounts.items()
            ]
        )

    def report(self, refused: list[RefusedAccount]) -> None:
        """Write a status with these accounts."""
        metadata = refused_metadata(refused, SETTINGS.pause_rule)
        self.instance.report_runless_asset_event(dg.AssetMaterialization(status_key(Shard()), metadata=metadata))

    def mend(self) -> None:
        """Let all keys work again."""
        for name, keys in self.keys.items():
            self.stage.clients[name].account.secrets.update(keys)


@pytest.fixture
def some(tmp_path: Path, instance_of: NewInstance, monkeypatch: pytest.MonkeyPatch) -> Iterator[Paused]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with instance_of("sqlite") as instance:
        made = Paused(tmp_path, instance)
        with made.stage:
            made.load()
            yield made


def test_a_dead_account_is_asked_once_a_day_until_it_works(some: Paused, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not some.tick().success
    some.asked()
    second = some.tick()
    assert some.asked() == {"acme", "umbrella", "globex"}
    assert second.success  # A pause is no new failure.
    assert second.said("paused, asked once a day from now on: 3\n- acme/newsletter: paused (Mailchimp refuses the key")
    third = some.tick()
    assert some.asked() == {"globex"}
    assert third.said("paused, and asked once a day only: acme, fresh, umbrella")
    found = third.numbers("sync_status")
    assert (found["audiences_paused"], found["audiences_in_time"], found["audiences_failing"]) == (3, 1, 0)
    assert (found["requests"], found["rate_limited"]) == (1, 0)
    rows = [dict(record.data) for record in found["worst_audiences"].records]
    assert [(row["client"], row["state"]) for row in rows] == [
        ("fresh", "paused"), ("acme", "paused"), ("umbrella", "paused"), ("globex", "well"),
    ]  # fmt: skip
    assert "until then it is asked once a day" in str(rows[0]["remedy"])
    check = dg.AssetCheckKey(status_key(Shard()), "keys_accepted")
    (record,) = some.instance.event_log_storage.get_latest_asset_check_execution_by_key([check]).values()
    assert record.evaluation is not None
    assert "acme/newsletter (KeyRefused, paused)" in (record.evaluation.description or "")

    monkeypatch.setenv("DAGSTER_HOME", some.instance.root_directory)
    monkeypatch.setenv("IMPORTER_PAUSE_AFTER_FAILURES", "2")
    printed = importer("status", clients=some.stage.folder / "clients.yaml")
    assert [line.split()[:2] for line in printed.out.splitlines()[1:4]] == [
        ["PAUSED", f"{name}/newsletter"] for name in ("acme", "umbrella", "fresh")
    ]
    assert "its account's key is refused since 20" in printed.out

    some.a_day_passes()
    some.tick()
    assert some.asked() == {"acme", "umbrella", "globex", "fresh"}
    some.tick()
    assert some.asked() == {"globex"}

    some.mend()
    some.a_day_passes()
    back = some.tick()
    assert back.success
    assert back.numbers("sync_status")["audiences_paused"] == 0
    assert back.numbers("sync_status")["audiences_in_time"] == 3
    some.asked()
    some.tick()
    assert some.asked() == {"acme", "umbrella", "globex"}


def test_syncs_by_hand_always_ask_and_the_schedules_do_not(some: Paused) -> None:
    some.pause()
    some.asked()
    first_syncs = run_config(newcomers_only=True, leave_paused=True)
    full_sync(some.clients, first_syncs, instance=some.instance, settings=SETTINGS)
    assert some.asked() == set()
    schedule = build_defs(some.clients, SETTINGS).resolve_schedule_def("hourly_first_sync")
    context = dg.build_schedule_context(instance=some.instance)
    assert not schedule.evaluate_tick(context).run_requests
    by_hand = run_config(op="import_changes")
    incremental_sync(some.clients, by_hand, instance=some.instance, settings=SETTINGS)
    assert some.asked() == {"acme", "umbrella", "globex", "fresh"}
    full_sync(some.clients, run_config(clients=["fresh"]), instance=some.instance, settings=SETTINGS)
    assert some.asked() == {"fresh"}
    some.mend()
    incremental_sync(some.clients, by_hand, instance=some.instance, settings=SETTINGS)
    some.asked()
    assert some.tick().numbers("sync_status")["audiences_in_time"] == 4
    assert some.asked() == {"acme", "umbrella", "globex", "fresh"}
