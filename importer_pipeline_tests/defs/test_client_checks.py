"""`check_clients`, against the sandbox: the same findings as `importer check`, in Dagster."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from importer_pipeline.clients.shards import Shard
from importer_pipeline.defs.names import status_key
from importer_pipeline_tests.cli.commands import importer
from importer_pipeline_tests.conftest import NewInstance
from importer_pipeline_tests.support.leaks import contents, leaked
from importer_pipeline_tests.support.runs import check_clients
from importer_pipeline_tests.support.stage import Stage, key_of


@pytest.fixture
def instance(instance_of: NewInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with instance_of("sqlite") as made:
        yield made


def evaluated(instance: dg.DagsterInstance) -> tuple[bool, str]:
    """Whether the check of the status asset passed, and its text."""
    key = dg.AssetCheckKey(status_key(Shard()), "clients_usable")
    (record,) = instance.event_log_storage.get_latest_asset_check_execution_by_key([key]).values()
    assert record.evaluation is not None
    return record.evaluation.passed, record.evaluation.description or ""


def test_the_job_finds_what_the_command_finds(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    for name in ("fine", "revoked", "misspelt"):
        stage.add(name, contacts=5)
    with stage:
        declared = stage.declared()
        declared["misspelt"]["audiences"]["newsletter"]["record"] = {"firstname": "merge_fields.FNAM"}
        keys = set(stage.clients["revoked"].account.secrets)
        stage.clients["revoked"].account.secrets.clear()
        clients = stage.load(declared)

        ran = check_clients(clients, instance=instance)
        assert not ran.success
        assert ran.message.startswith("3 clients checked: 1 ok, 2 with problems\nmisspelt\n  audiences.newsletter")
        printed = importer("check", clients=stage.folder / "clients.yaml")
        found = [line.strip() for line in printed.out.splitlines() if line.startswith("     ")]
        assert found == [line.strip() for line in ran.message.splitlines() if line.startswith("  ")]
        assert evaluated(instance) == (False, "2 with problems: misspelt, revoked")

        assert check_clients(clients, "fine", instance=instance).success
        assert evaluated(instance) == (False, "2 with problems: misspelt, revoked")  # As they were checked last.

        stage.clients["revoked"].account.secrets.update(keys)
        assert check_clients(clients, "revoked", instance=instance).success
        assert evaluated(instance) == (False, "1 with problems: misspelt")
        assert check_clients(stage.load(), instance=instance).success
        assert evaluated(instance) == (True, "no client has problems")
        assert not any(client.target.records for client in stage.clients.values())
        secrets = [client.target.api_key for client in stage.clients.values()] + [key_of(stage.clients["fine"])]
        assert leaked(secrets, [*contents(Path(instance.root_directory))]) == set()


def test_an_unknown_client_is_a_message(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.add("fine", contacts=5)
    with stage:
        assert "nobody" in check_clients(stage.load(), "nobody", instance=instance).message
