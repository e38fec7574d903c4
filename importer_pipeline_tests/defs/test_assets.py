"""The assets of all audiences."""

from pathlib import Path

import dagster as dg
import pytest

from importer_pipeline.definitions import build_defs
from importer_pipeline.defs.assets import contacts_assets
from importer_pipeline_tests.defs.declared import client, declared
from importer_pipeline_tests.runs import Ran, ran_of, run_config
from importer_pipeline_tests.stage import Stage


def test_each_audience_has_an_asset_in_its_client_s_group() -> None:
    assets = contacts_assets(declared(client("acme-2", audiences=2), client("globex")))
    assert {spec.key.to_user_string(): spec.group_name for spec in assets.specs} == {
        "acme-2/list-0/contacts": "acme_2",
        "acme-2/list-1/contacts": "acme_2",
        "globex/list-0/contacts": "globex",
    }


@pytest.mark.parametrize("owner", ["team:crm", "someone@example.com", None], ids=str)
def test_an_asset_belongs_to_the_client_s_owner(owner: str | None) -> None:
    (spec,) = contacts_assets(declared(client("acme", owner=owner))).specs
    assert list(spec.owners) == ([] if owner is None else [owner])


def test_an_asset_tells_the_list_and_is_in_the_pool() -> None:
    assets = contacts_assets(declared(client("acme", audiences=2)))
    assert "0000000001" in (assets.specs_by_key[dg.AssetKey(["acme", "list-1", "contacts"])].description or "")
    assert assets.op.pool == "mailchimp"


def materialize(stage: Stage, *keys: str) -> Ran:
    job = build_defs(stage.load()).resolve_implicit_global_asset_job_def()
    selection = [dg.AssetKey.from_user_string(key) for key in keys]
    config = {"resources": run_config()["resources"]}
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(
            instance=instance, asset_selection=selection or None, run_config=config, raise_on_error=False
        )
        return ran_of(result, instance)


@pytest.mark.parametrize(
    "keys",
    [
        ["acme/newsletter/contacts"],
        ["acme/newsletter/contacts", "globex/customers/contacts"],
        [f"{name}/{audience}/contacts" for name in ("acme", "globex") for audience in ("customers", "newsletter")],
    ],
    ids=["one", "two", "all"],
)
def test_only_what_is_selected_is_imported_and_materialized_once(tmp_path: Path, keys: list[str]) -> None:
    stage = Stage(tmp_path)
    for name in ("acme", "globex"):
        stage.add(name, audiences=2)
    with stage:
        ran = materialize(stage, *keys)
    assert (ran.success, sorted(ran.materialized)) == (True, keys)
    imported = {
        f"{name}/{listed.name}/contacts"
        for name, one in stage.clients.items()
        for listed in one.lists
        if stage.sandbox.asked_about(listed.list_id)
    }
    assert imported == set(keys)
    assert {name: len(one.target.records) for name, one in stage.clients.items()} == {
        name: 200 * sum(key.startswith(f"{name}/") for key in keys) for name in stage.clients
    }


def test_of_one_audience_in_all_there_is_one_materialization(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.add("acme")
    with stage:
        ran = materialize(stage)
    assert (ran.success, ran.materialized) == (True, ["acme/newsletter/contacts"])
    assert ran.numbers("acme/newsletter/contacts")["contacts_accepted"] == 200
