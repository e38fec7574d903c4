"""Fast rendering of pages of members."""

import json

import pytest

from importer_pipeline.sandbox.documents import member_document
from importer_pipeline.sandbox.fields import chosen, tree_of
from importer_pipeline.sandbox.members import ABSENT, MemberList
from importer_pipeline.sandbox.rendering import members_json
from importer_pipeline_tests.sandbox.asking import place

FAST = "members.id,members.contact_id,members.email_address,members.status,members.last_changed"


def _odd_list() -> MemberList:
    members = place().members
    members.fill(300, changed_between=(1, 100), seed=3)
    members.add("null@example.com", oddities={"merge_fields": None})
    members.add('quo"te@example.com', merge_fields={"FNAME": {"addr1": "1 Elm"}, "LNAME": 3.5, "PHONE": None})
    members.add("new@example.com", status="a status of tomorrow", oddities={"contact_id": ABSENT, "last_changed": ""})
    members.add("")
    return members


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(FAST, id="all that is fast"),
        pytest.param(f"{FAST},members.merge_fields", id="all merge fields"),
        pytest.param("members.merge_fields.LNAME,members.merge_fields.FNAME,members.id", id="some merge fields"),
        pytest.param("members.merge_fields.FNAME.addr1,members.id", id="below a merge field"),
        pytest.param("members.merge_fields.NOTHING,members.id", id="a merge field that is not there"),
        pytest.param("members.id,members.nothing", id="a field that is not there"),
        pytest.param("members.location.country_code,members.id", id="below another field"),
        pytest.param("members", id="all"),
    ],
)
def test_fast_rendering_equals_the_document(fields: str) -> None:
    members = _odd_list()
    expected = [chosen(member_document(member, members), tree_of(fields)["members"]) for member in members]
    assert json.loads(members_json(list(members), members, fields)) == expected


def test_a_page_without_members_is_an_empty_array() -> None:
    assert members_json([], place().members, FAST) == "[]"
