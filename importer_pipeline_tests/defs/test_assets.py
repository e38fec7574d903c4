"""The assets of all audiences."""

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from importer_pipeline.clients.collection import Clients, Secret
from importer_pipeline.definitions import build_defs
from importer_pipeline.defs.assets import contacts_assets, windows_assets
from importer_pipeline.defs.settings import Settings
from importer_pipeline.defs.specs import MAX_WITH_LINEAGE, list_specs
from importer_pipeline.defs.status import StatusReporter
from importer_pipeline_tests.defs.declared import client, declared
from importer_pipeline_tests.support.runs import materialize
from importer_pipeline_tests.support.stage import Stage


def contacts_assets_of(clients: Clients) -> dg.AssetsDefinition:
    return contacts_assets(clients, StatusReporter(clients, Settings()))


KINDS = pytest.mark.parametrize(
    ("assets_of", "kind"),
    [(contacts_assets_of, "contacts"), (windows_assets, "contact_windows")],
    ids=["contacts", "contact_windows"],
)

AssetsOf = Callable[[Clients], dg.AssetsDefinition]
"""One of the multi-assets, for some clients."""


@KINDS
def test_each_audience_has_an_asset_in_its_client_s_group(assets_of: AssetsOf, kind: str) -> None:
    assets = assets_of(declared(client("acme-2", audiences=2), client("globex")))
    assert {spec.key.to_user_string(): spec.group_name for spec in assets.specs} == {
        f"acme-2/list-0/{kind}": "acme_2",
        f"acme-2/list-1/{kind}": "acme_2",
        f"globex/list-0/{kind}": "globex",
    }


@pytest.mark.parametrize("owner", ["team:crm", "someone@example.com", None], ids=str)
@KINDS
def test_an_asset_belongs_to_the_client_s_owner(assets_of: AssetsOf, kind: str, owner: str | None) -> None:
    (spec,) = assets_of(declared(client("acme", owner=owner))).specs
    assert (spec.key.path[-1], list(spec.owners)) == (kind, [] if owner is None else [owner])


@KINDS
def test_an_asset_tells_the_list_and_is_in_the_pool(assets_of: AssetsOf, kind: str) -> None:
    assets = assets_of(declared(client("acme", audiences=2)))
    assert "0000000001" in (assets.specs_by_key[dg.AssetKey(["acme", "list-1", kind])].description or "")
    assert assets.op.pool == "mailchimp"


def test_windows_are_partitions_and_any_of_them_take_one_run() -> None:
    assets = windows_assets(declared(client("acme", audiences=2), client("globex")))
    partitions = [spec.partitions_def for spec in assets.specs]
    assert [one.name for one in partitions if isinstance(one, dg.DynamicPartitionsDefinition)] == [
        "acme/list-0/contact_windows",
        "acme/list-1/contact_windows",
        "globex/list-0/contact_windows",
    ]
    assert assets.backfill_policy == dg.BackfillPolicy.single_run()


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
    with stage, dg.DagsterInstance.ephemeral() as instance:
        ran = materialize(stage.load(), [dg.AssetKey.from_user_string(key) for key in keys], instance=instance)
    assert (ran.success, sorted(ran.materialized)) == (True, keys)
    assert {line.asset for line in ran.log if line.partition} == {
        key.replace("contacts", "contact_windows") for key in keys
    }
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
    with stage, dg.DagsterInstance.ephemeral() as instance:
        ran = materialize(stage.load(), [dg.AssetKey(["acme", "newsletter", "contacts"])], instance=instance)
    assert (ran.success, ran.materialized) == (True, ["acme/newsletter/contacts"])
    assert sorted(ran.partitions("acme/newsletter/contact_windows")) == ["0", "archived-0"]
    assert ran.numbers("acme/newsletter/contacts")["contacts_accepted"] == 200


def test_windows_of_several_audiences_can_be_counted() -> None:
    """Dagster's telemetry asks for the partitions of all assets of a code location, or `dagster job execute` fails."""
    found = build_defs(declared(client("acme", audiences=2))).get_repository_def().assets_defs_by_key
    assert found[dg.AssetKey(["acme", "list-0", "contact_windows"])].partitions_def is None
    assert found[dg.AssetKey(["acme", "list-0", "contact_changes"])].partitions_def is not None


def test_an_audience_s_assets_come_from_its_list_at_mailchimp() -> None:
    graph = build_defs(declared(client("acme"))).resolve_asset_graph()
    source = dg.AssetKey(["acme", "list-0", "mailchimp"])
    kinds = {"contacts", "contact_windows", "contact_changes"}
    assert {key.path[-1] for key in graph.get(source).child_keys} == kinds
    assert not graph.get(source).is_materializable


@pytest.mark.parametrize(
    ("key", "base_url", "url"),
    [
        ("0123-us6", None, "https://us6.admin.mailchimp.com/audience/"),
        ("0123-us6", "https://us7.api.mailchimp.com/3.0", "https://us7.admin.mailchimp.com/audience/"),
        ("0123", None, "https://admin.mailchimp.com/audience/"),
        ("", None, "https://admin.mailchimp.com/audience/"),
        ("0123-us6", "http://127.0.0.1:9/3.0", "https://admin.mailchimp.com/audience/"),
    ],
    ids=["of the key", "of base_url", "of neither", "without a key", "of a proxy"],
)
def test_the_list_links_to_the_account_s_own_data_centre(
    monkeypatch: pytest.MonkeyPatch, key: str, base_url: str | None, url: str
) -> None:
    monkeypatch.setenv("A_KEY", key)
    acme = client("acme")
    settings = acme.mailchimp.model_copy(update={"api_key": Secret(env="A_KEY"), "base_url": base_url})
    (spec,) = list_specs(declared(acme.model_copy(update={"mailchimp": settings})))
    assert spec.metadata["mailchimp"].value == url


def test_the_columns_are_those_of_the_record_mapping() -> None:
    (spec,) = contacts_assets_of(declared(client("acme"))).specs
    columns = spec.metadata["dagster/column_schema"].schema.columns
    assert {column.name: column.description for column in columns} == {
        "id": "from {list_id}-{id}", "firstname": "from merge_fields.FNAME", "lastname": "from merge_fields.LNAME",
        "email": "from email_address", "status": "from status",
    }  # fmt: skip


def test_many_audiences_load_without_their_lineage() -> None:
    """Its edges would make the load half as long again."""
    made = build_defs(declared(client("acme", audiences=MAX_WITH_LINEAGE + 1)))
    assert {key.path[-1] for key in made.resolve_asset_graph().external_asset_keys} == set()
