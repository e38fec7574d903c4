"""Records of a declared form: values, functions, nesting, and all problems at once."""

from typing import Any

import pytest

from importer_pipeline.errors import ClientsFileInvalid
from importer_pipeline.records.contacts import ID_OF_NO_ADDRESS, Contact
from importer_pipeline.records.expressions import parse_expression
from importer_pipeline.records.shapes import Flaw, Shape, ShapedMapping, id_of, read_fields

MEMBER: dict[str, Any] = {
    "id": "a1",
    "email_address": " Ann@Example.com",
    "status": "subscribed",
    "vip": True,
    "last_changed": "2024-05-06T07:08:09+00:00",
    "tags": [{"id": 1, "name": "gold\ud800"}],
    "merge_fields": {"FNAME": "Ann", "LNAME": "", "AGE": 41.0, "BIRTH": "7/4/1990", "NEWS": "No", "MOBILE": "  "},
}


def shape(fields: dict[str, Any], record_id: str | None = None) -> Shape:
    flaws = list[Flaw]()
    read = read_fields(fields, flaws)
    assert flaws == []
    return Shape(id=id_of((record_id and parse_expression(record_id)) or None, read), fields=read)


def contact(fields: dict[str, Any], record_id: str | None = None, **changed: Any) -> Contact:
    mapping = ShapedMapping.of(shape(fields, record_id), list_id="1a2d7ebf82")
    return mapping.contacts([{**MEMBER, **changed}])[0][0]


def content(fields: dict[str, Any], **changed: Any) -> dict[str, Any]:
    made = contact(fields, **changed).record
    assert made is not None
    return made.content


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        pytest.param("merge_fields.AGE", "41", id="a path is a text"),
        pytest.param("{merge_fields.FNAME} of {list_id}", "Ann of 1a2d7ebf82", id="a text with places"),
        pytest.param("{email_address | trim | lower}", "ann@example.com", id="functions from left to right"),
        pytest.param("{merge_fields.AGE | integer}", 41, id="integer"),
        pytest.param("{merge_fields.NEWS | boolean}", False, id="boolean from a text"),
        pytest.param("{vip | boolean}", True, id="boolean"),
        pytest.param("{merge_fields.LNAME | boolean}", None, id="nothing is null"),
        pytest.param("{last_changed | date}", "2024-05-06", id="the day of a time"),
        pytest.param("{merge_fields.BIRTH | date}", "1990-07-04", id="a date as Mailchimp shows it"),
        pytest.param("{merge_fields.MOBILE or merge_fields.PHONE or merge_fields.FNAME}", "Ann", id="first not empty"),
        pytest.param("{merge_fields.PHONE or 'none'}", "none", id="a constant if all are empty"),
        pytest.param("{tags | json}", [{"id": 1, "name": "gold\ufffd"}], id="as Mailchimp sends it"),
        pytest.param("=customer", "customer", id="a text"),
        pytest.param("=true", True, id="a boolean"),
        pytest.param('=["a", 5]', ["a", 5], id="a list"),
        pytest.param("{{{status}}}", "{subscribed}", id="literal braces"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_a_value_of_a_declared_record(written: str, sent: Any) -> None:
    assert content({"id": "id", "x": written})["x"] == sent


def test_fields_nest_and_optional_ones_are_left_out() -> None:
    fields = {
        "idProperty": "=email",
        "properties": {"firstname": "merge_fields.FNAME", "lastname": "{merge_fields.LNAME | optional}"},
        "emails": [{"value": "{email_address|trim}"}, "{merge_fields.PHONE | optional}"],
    }
    assert content(fields) == {
        "idProperty": "email",
        "properties": {"firstname": "Ann"},
        "emails": [{"value": "Ann@Example.com"}],
    }


def test_a_value_that_does_not_fit_quarantines_its_contact() -> None:
    """The reason names the field, not the value."""
    unfit = contact({"id": "id", "age": {"years": "{merge_fields.FNAME | integer}"}})
    assert unfit.record is None
    assert "merge_fields.FNAME is not a whole number, which record.age.years needs" in unfit.reason
    assert "Ann" not in unfit.reason


def test_a_record_without_an_id_is_not_sent() -> None:
    assert contact({"x": "status"}, id=ID_OF_NO_ADDRESS).record is None
    by_address = contact({"x": "status"}, "{email_address | trim | lower}", email_address=" ")
    assert by_address.record is None
    assert "no email_address" in by_address.reason
    found = contact({"x": "status"}, "{list_id}-{email_address | trim | lower}").record
    assert found is not None
    assert found.id == "1a2d7ebf82-ann@example.com"


def test_missing_paths_count_and_only_mapped_ones_are_requested() -> None:
    mapping = ShapedMapping.of(shape({"id": "id", "p": {"city": "merge_fields.CITY"}}), list_id="a")
    _, lacking = mapping.contacts([MEMBER, MEMBER])
    assert lacking == {"merge_fields.CITY": 2}
    assert mapping.member_fields == "id,last_changed,merge_fields.CITY"


def test_equal_records_have_one_normal_form() -> None:
    one = shape({"id": "id", "b": "{ email_address|lower }", "a": "= 5"})
    other = shape({"id": "{id}", "a": "=5", "b": "{email_address | lower}"})
    assert one.normal_form == other.normal_form
    assert one.normal_form != shape({"id": "id", "b": "email_address", "a": "=5"}).normal_form


def test_an_audience_changes_single_fields() -> None:
    base = shape({"id": "id", "properties": {"city": "merge_fields.CITY", "name": "merge_fields.FNAME"}})
    changed = base.with_fields(read_fields({"properties": {"city": "merge_fields.ORT"}, "more": "=1"}, []))
    assert changed.normal_form == shape(
        {"id": "id", "properties": {"city": "merge_fields.ORT", "name": "merge_fields.FNAME"}, "more": "=1"}
    ).normal_form  # fmt: skip


def test_all_problems_of_a_record_are_found_at_once() -> None:
    flaws = list[Flaw]()
    read_fields(
        {
            "a": "emailaddress",
            "b": {"c": "{email_address | upper}", "d": "{email_address"},
            "e": ["{status | integer | lower}", "no places {{}}", None],
            "f": "so {vip | boolean}",
            "g": "{vip | optional | lower}",
        },
        flaws,
    )
    assert [".".join(flaw.where) for flaw in flaws] == ["a", "b.c", "b.d", "e", "e", "e", "f", "g"]
    assert all(flaw.remedy for flaw in flaws)
    assert "lower" in flaws[1].remedy


@pytest.mark.parametrize("record_id", ["=5", "status", "{email_address | json}", "{email_address | optional}"])
def test_an_id_that_is_none_is_refused(record_id: str) -> None:
    with pytest.raises(ClientsFileInvalid):
        id_of(parse_expression(record_id), {})
