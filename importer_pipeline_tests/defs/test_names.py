"""How clients and audiences are called in Dagster."""

import dagster as dg

from importer_pipeline.defs.names import audience_label, contacts_key, group_name


def test_an_asset_s_key_leads_back_to_its_audience() -> None:
    key = contacts_key("acme-2", "news_letter")
    assert (key.path, audience_label(key)) == (["acme-2", "news_letter", "contacts"], "acme-2/news_letter")


def test_a_group_has_the_client_s_name_as_dagster_allows_it() -> None:
    group = group_name("acme-2-north")
    assert group == "acme_2_north"
    assert dg.AssetSpec("any", group_name=group).group_name == group
