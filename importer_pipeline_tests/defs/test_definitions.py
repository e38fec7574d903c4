"""Everything put together."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from importer_pipeline.definitions import build_defs
from importer_pipeline_tests.defs.declared import client, declared
from importer_pipeline_tests.support.processes import neutral_environment
from importer_pipeline_tests.support.stage import Stage

JOBS = {"check_clients", "full_sync", "incremental_sync", "plan_windows", "prune_history", "redrive_quarantine"}


def test_a_thousand_audiences_load() -> None:
    clients = declared(*(client(f"client-{number}", audiences=2) for number in range(500)))
    repository = build_defs(clients).get_repository_def()
    assert len(repository.asset_graph.get_all_asset_keys()) == 4002
    computed = [node for node in repository.asset_graph.asset_nodes if node.is_executable]
    assert {node.assets_def.op.name for node in computed} == {
        "contacts",
        "contact_windows",
        "contact_changes",
        "quarantine",
        "import_changes",
    }
    assert {name for name in repository.job_names if not name.startswith("__")} == JOBS


def test_they_can_be_loaded() -> None:
    dg.Definitions.validate_loadable(build_defs(declared(client("acme"))))


def test_what_is_wrong_is_logged_and_the_rest_is_defined(caplog: pytest.LogCaptureFixture) -> None:
    clients = declared(
        client("acme", variable="NO_SUCH_VARIABLE"), client("globex"), problems=("clients.yaml: hooli is wrong",)
    )
    keys = build_defs(clients).resolve_asset_graph().get_all_asset_keys()
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(keys) == 10
    assert any("hooli is wrong" in line for line in warned)
    assert any(
        "acme.mailchimp.api_key: the environment variable NO_SUCH_VARIABLE is not set" in line for line in warned
    )
    assert not any("globex" in line for line in warned)


@pytest.mark.parametrize(("file", "outcome"), [("clients.yaml", "loaded"), ("missing.yaml", "ClientsFileInvalid")])
def test_a_load_leaves_the_collector_on(tmp_path: Path, file: str, outcome: str) -> None:
    """Whatever comes of it: a code server lives for months."""
    stage = Stage(tmp_path)
    stage.add("acme", contacts=0)
    with stage:
        stage.write()
    load = """if True:
        import gc
        try:
            from importer_pipeline.definitions import defs
            print("loaded", gc.isenabled())
        except Exception as error:
            print(type(error).__name__, gc.isenabled())
    """
    environment = neutral_environment() | {"IMPORTER_CLIENTS": str(tmp_path / file)}
    done = subprocess.run([sys.executable, "-c", load], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == [outcome, "True"]


@pytest.mark.parametrize("job", sorted(JOBS))
def test_without_clients_there_are_still_the_jobs(job: str) -> None:
    made = build_defs(declared())
    assert made.resolve_job_def(job).name == job
    assert made.resolve_asset_graph().get_all_asset_keys() == {dg.AssetKey("sync_status")}
