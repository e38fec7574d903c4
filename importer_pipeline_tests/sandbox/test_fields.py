"""Parts of documents by dotted paths."""

from typing import Any

import pytest

from importer_pipeline.sandbox.fields import chosen, tree_of, without

DOCUMENT = {"members": [{"id": "1", "merge_fields": {"FNAME": "a", "LNAME": "b"}, "tags": []}], "total_items": 1}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param("total_items", {"total_items": 1}, id="a name"),
        pytest.param("members.id", {"members": [{"id": "1"}]}, id="a path through an array"),
        pytest.param("members.merge_fields.LNAME", {"members": [{"merge_fields": {"LNAME": "b"}}]}, id="a deep path"),
        pytest.param("members.merge_fields,members.merge_fields.LNAME", {"members": [
            {"merge_fields": {"FNAME": "a", "LNAME": "b"}}]}, id="the whole and a part of it"),
        pytest.param("members.nothing,total_items", {"members": [{}], "total_items": 1}, id="a wrong path"),
        pytest.param("nothing.id", {}, id="a wrong root"),
        pytest.param(" total_items ,", {"total_items": 1}, id="blanks and an empty path"),
        pytest.param("members.tags", {"members": [{"tags": []}]}, id="an empty array"),
        pytest.param("", DOCUMENT, id="none"),
    ],
)  # fmt: skip
def test_fields_selects_parts(fields: str, expected: dict[str, Any]) -> None:
    assert chosen(DOCUMENT, tree_of(fields)) == expected


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        pytest.param(["members"], {"total_items": 1}, id="a name"),
        pytest.param(
            ["members.merge_fields", "members.tags"], {"members": [{"id": "1"}], "total_items": 1}, id="paths"
        ),
        pytest.param(["members.nothing", "nothing"], DOCUMENT, id="wrong paths"),
    ],
)
def test_exclude_fields_omits_parts(paths: list[str], expected: dict[str, Any]) -> None:
    assert without(DOCUMENT, paths) == expected
