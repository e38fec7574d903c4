"""How clients and audiences are called in Dagster."""

import dagster as dg

from importer_pipeline.defs.names import audience_label, contacts_key, group_name, windows_key, windows_partitions
from importer_pipeline.listing.snapshots import AudienceName

NAME = AudienceName("acme-2", "news_letter")


def test_an_asset_s_key_leads_back_to_its_audience() -> None:
    keys = contacts_key(NAME), windows_key(NAME)
    assert [key.path[-1] for key in keys] == ["contacts", "contact_windows"]
    assert {(*key.path[:2], audience_label(key)) for key in keys} == {("acme-2", "news_letter", "acme-2/news_letter")}


def test_windows_of_different_audiences_have_different_keys() -> None:
    others = AudienceName("acme-2", "news"), AudienceName("acme", "news_letter")
    assert len({windows_partitions(name).name for name in (NAME, *others)}) == 3


def test_a_group_has_the_client_s_name_as_dagster_allows_it() -> None:
    group = group_name("acme-2-north")
    assert group == "acme_2_north"
    assert dg.AssetSpec("any", group_name=group).group_name == group
