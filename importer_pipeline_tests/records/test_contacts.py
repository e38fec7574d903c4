"""Mapping members to records: values, missing ones, contacts that can't be sent, and the fields to request."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from importer_pipeline.errors import ClientsFileInvalid
from importer_pipeline.records.contacts import ID_OF_NO_ADDRESS, Contact, Record, RecordMapping

LIST_ID = "1a2d7ebf82"
DEFAULT = RecordMapping.of({}, list_id=LIST_ID)


def member(**values: Any) -> dict[str, Any]:
    """Return a member as Mailchimp sends it, with the fields that the default mapping asks for."""
    usual = {
        "id": "b58996c504c5638798eb6b511e6f49af",
        "email_address": "ann@example.com",
        "status": "subscribed",
        "last_changed": "2026-11-24T07:00:00+00:00",
        "merge_fields": {"FNAME": "Ann", "LNAME": "Lee"},
    }
    return usual | values


def firstname(value: Any) -> tuple[str, int]:
    """Return the first name of a member whose merge field has `value`, and how often it was missing."""
    contacts, lacking = DEFAULT.contacts([member(merge_fields={"FNAME": value, "LNAME": "Lee"})])
    assert isinstance(contacts[0].record, Record)
    return contacts[0].record.firstname, lacking["merge_fields.FNAME"]


def test_a_member_becomes_a_record_by_the_default_mapping() -> None:
    contacts, lacking = DEFAULT.contacts([member()])
    record = Record("b58996c504c5638798eb6b511e6f49af", "Ann", "Lee", "ann@example.com", "subscribed")
    assert contacts == [Contact("b58996c504c5638798eb6b511e6f49af", record, "")]
    assert isinstance(contacts[0], Contact)
    assert isinstance(contacts[0].record, Record)
    assert not lacking


def test_an_empty_page_becomes_no_contacts() -> None:
    assert DEFAULT.contacts([]) == ([], Counter())


@pytest.mark.parametrize(
    ("value", "text", "lacking"),
    [
        pytest.param("", "", 0, id="an empty text is not lacking"),
        pytest.param(None, "", 1, id="null is lacking"),
        pytest.param(" Ann ", " Ann ", 0, id="a text as it is"),
        pytest.param(3, "3", 0, id="an integer"),
        pytest.param(3.0, "3", 0, id="a whole float"),
        pytest.param(-0.5, "-0.5", 0, id="a float"),
        pytest.param(1e300, "1e+300", 0, id="a huge float"),
        pytest.param(True, "true", 0, id="true"),
        pytest.param(False, "false", 0, id="false"),
        pytest.param({"addr1": "Ö 1", "zip": ""}, '{"addr1":"Ö 1","zip":""}', 0, id="an object"),
        pytest.param([], "[]", 0, id="an array"),
        pytest.param("\ud83d!", "\ufffd!", 0, id="half a surrogate pair"),
        pytest.param(["\udc00"], '["\ufffd"]', 0, id="half a surrogate pair in an array"),
        pytest.param("😀", "😀", 0, id="beyond the basic plane"),
    ],
)
def test_each_kind_of_value_is_sent_as_text(value: Any, text: str, lacking: int) -> None:
    assert firstname(value) == (text, lacking)


@pytest.mark.parametrize(
    "merge_fields", [None, {}, [], "x", 5], ids=["null", "empty", "an array", "a text", "a number"]
)
def test_merge_fields_that_are_none_count_as_lacking(merge_fields: Any) -> None:
    _, lacking = DEFAULT.contacts([member(), member(merge_fields=merge_fields)])
    assert lacking == {"merge_fields.FNAME": 1, "merge_fields.LNAME": 1}


def test_absent_merge_fields_count_as_lacking() -> None:
    bare = {key: value for key, value in member().items() if key != "merge_fields"}
    contacts, lacking = DEFAULT.contacts([bare])
    assert contacts[0].record == Record(bare["id"], "", "", "ann@example.com", "subscribed")
    assert lacking == {"merge_fields.FNAME": 1, "merge_fields.LNAME": 1}


def test_the_parts_of_an_address_are_empty_where_it_is_not_set() -> None:
    mapping = RecordMapping.of({"lastname": "merge_fields.ADDRESS.city"}, list_id=LIST_ID)
    addresses: list[Any] = [{"city": "Rome"}, "", {}, None]
    contacts, lacking = mapping.contacts(
        [member(merge_fields={"FNAME": "Ann", "ADDRESS": address}) for address in addresses]
    )
    assert [contact.record and contact.record.content["lastname"] for contact in contacts] == ["Rome", "", "", ""]
    assert lacking == {"merge_fields.ADDRESS.city": 2}


@pytest.mark.parametrize(
    ("spec", "record"),
    [
        pytest.param({"id": "{list_id}-{id}"}, {"id": f"{LIST_ID}-b58996c504c5638798eb6b511e6f49af"}, id="list and id"),
        pytest.param({"firstname": "{{{merge_fields.FNAME}}}"}, {"firstname": "{Ann}"}, id="braces that are sent"),
        pytest.param({"lastname": ""}, {"lastname": ""}, id="always empty"),
        pytest.param({"status": "list_id"}, {"status": LIST_ID}, id="the list alone"),
        pytest.param({"lastname": "{status}/{status}"}, {"lastname": "subscribed/subscribed"}, id="a path twice"),
    ],
)
def test_the_mapping_decides_what_is_sent(spec: Mapping[str, str], record: Mapping[str, str]) -> None:
    usual = DEFAULT.contacts([member()])[0][0].record
    contacts, _ = RecordMapping.of(spec, list_id=LIST_ID).contacts([member()])
    assert usual is not None
    assert contacts[0].record == usual._replace(**record)


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        pytest.param(
            {},
            "members.id,members.last_changed,members.merge_fields.FNAME,members.merge_fields.LNAME,"
            "members.email_address,members.status,total_items",
            id="default",
        ),
        pytest.param(
            {"firstname": "", "lastname": "", "email": "", "status": "list_id"},
            "members.id,members.last_changed,total_items",
            id="nothing but the id",
        ),
        pytest.param(
            {"id": "contact_id", "firstname": "merge_fields.ADDRESS.city", "lastname": "merge_fields.ADDRESS"},
            "members.id,members.last_changed,members.contact_id,members.merge_fields.ADDRESS,members.email_address,"
            "members.status,total_items",
            id="the whole of what has parts",
        ),
        pytest.param(
            {"firstname": "merge_fields", "lastname": "merge_fields.LNAME", "email": "", "status": ""},
            "members.id,members.last_changed,members.merge_fields,total_items",
            id="nothing twice",
        ),
    ],
)
def test_mailchimp_is_asked_for_what_the_mapping_reads(spec: Mapping[str, str], fields: str) -> None:
    mapping = RecordMapping.of(spec, list_id=LIST_ID)
    assert mapping.fields == fields
    assert mapping.paths[:2] == ("id", "last_changed")
    assert "list_id" not in mapping.paths


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(member(id=ID_OF_NO_ADDRESS, email_address=""), id="the id of the empty address"),
        pytest.param(member(id=""), id="an empty id"),
        pytest.param(member(id=None), id="null"),
        pytest.param(member(id=17), id="a number"),
        pytest.param({}, id="an empty member"),
        pytest.param("member", id="no object"),
        pytest.param(None, id="null for a member"),
    ],
)
def test_only_members_without_an_id_of_their_own_are_not_sent(broken: Any) -> None:
    contacts, _ = DEFAULT.contacts([member(), broken, member()])
    assert [contact.record is None for contact in contacts] == [False, True, False]
    assert 'map record.id to "contact_id"' in contacts[1].reason


def test_a_contact_without_an_address_is_sent_with_another_id() -> None:
    """The mapping makes the ID of something else."""
    mapping = RecordMapping.of({"id": "{list_id}-{contact_id}"}, list_id=LIST_ID)
    contacts, _ = mapping.contacts([member(id=ID_OF_NO_ADDRESS, contact_id="c1"), member(id=None, contact_id="c2")])
    assert [contact.record and contact.record.id for contact in contacts] == [f"{LIST_ID}-c1", f"{LIST_ID}-c2"]
    assert [contact.contact_id for contact in contacts] == [ID_OF_NO_ADDRESS, ""]


def test_the_reason_shows_the_mapping_and_nothing_of_the_person() -> None:
    mapping = RecordMapping.of({"id": "{list_id}-{id}"}, list_id=LIST_ID)
    contacts, _ = mapping.contacts([member(id=ID_OF_NO_ADDRESS)])
    assert '"{list_id}-{contact_id}"' in contacts[0].reason
    assert "ann" not in contacts[0].reason.lower()


@pytest.mark.parametrize("value", [None, ""], ids=["lacking", "empty"])
def test_a_contact_that_lacks_any_part_of_its_id_is_not_sent(value: str | None) -> None:
    mapping = RecordMapping.of({"id": "{id}-{merge_fields.NUMBER}"}, list_id=LIST_ID)
    contacts, _ = mapping.contacts([member(merge_fields={"NUMBER": value})])
    assert contacts[0].record is None
    assert "no merge_fields.NUMBER" in contacts[0].reason


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        pytest.param({"id": ""}, "needs an id", id="empty id"),
        pytest.param({"name": "full_name"}, "no name", id="unknown value"),
        pytest.param({"email": "mail"}, "no", id="unknown path"),
    ],
)
def test_a_mapping_that_can_not_be_is_refused(spec: Mapping[str, str], problem: str) -> None:
    with pytest.raises(ClientsFileInvalid, match=problem):
        RecordMapping.of(spec, list_id=LIST_ID)


def test_reprs_show_nothing_of_a_person() -> None:
    contacts, _ = DEFAULT.contacts([member()])
    assert "ann" not in f"{contacts!r} {contacts[0].record!r}".lower()


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
KEYS = ["id", "email_address", "status", "merge_fields", "contact_id"]
MERGE_FIELDS = st.dictionaries(st.sampled_from(["FNAME", "LNAME", "ADDRESS"]), JSON_VALUES)
MEMBERS = st.dictionaries(st.sampled_from(KEYS), JSON_VALUES | MERGE_FIELDS) | JSON_VALUES
SPECS = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(["id", "{list_id}-{id}", "contact_id", "{id}{merge_fields.FNAME}"]),
        "firstname": st.sampled_from(["merge_fields.FNAME", "{merge_fields.FNAME} {status}", "merge_fields", ""]),
        "lastname": st.sampled_from(["merge_fields.ADDRESS.city", "{{{merge_fields.LNAME}}}"]),
    },
)


@settings(derandomize=True, database=None, deadline=None, max_examples=150)
@given(members=st.lists(MEMBERS, max_size=6), spec=SPECS)
def test_any_member_becomes_one_contact_that_json_can_hold(members: list[Any], spec: dict[str, str]) -> None:
    mapping = RecordMapping.of(spec, list_id=LIST_ID)
    contacts, lacking = mapping.contacts(members)
    assert len(contacts) == len(members)
    assert all(0 < count <= len(members) * len(Record._fields) for count in lacking.values())
    for contact in contacts:
        assert (contact.record is None) == bool(contact.reason)
        assert all(isinstance(text, str) for text in contact.record or ())
        assert contact.record is None or contact.record.id
        json.dumps([contact.contact_id, contact.record], ensure_ascii=False).encode()


@settings(derandomize=True, database=None, deadline=None, max_examples=100)
@given(members=st.lists(MEMBERS, max_size=6), spec=SPECS)
def test_a_member_is_mapped_alike_in_whatever_company(members: list[Any], spec: dict[str, str]) -> None:
    mapping = RecordMapping.of(spec, list_id=LIST_ID)
    together, lacking = mapping.contacts(members)
    alone = [mapping.contacts([one]) for one in members]
    assert together == [contacts[0] for contacts, _ in alone]
    assert lacking == sum((counts for _, counts in alone), Counter())
