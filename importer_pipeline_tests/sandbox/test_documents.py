"""Names and types of the sandbox's answers, against those of recorded live answers, written down here."""

import json
from typing import Any

import pytest

from importer_pipeline_tests.sandbox.asking import LIST_ID, MEMBERS, Place, get, place

Shape = dict[str, Any]

# A type for a value, a dictionary for an object, a list with one shape for an array of it.
LINK: Shape = {"rel": str, "href": str, "method": str}
MEMBER: Shape = {
    "id": str, "email_address": str, "unique_email_id": str, "contact_id": str, "full_name": str, "web_id": int,
    "email_type": str, "status": str, "consents_to_one_to_one_messaging": bool, "merge_fields": dict,
    "stats": {"avg_open_rate": int, "avg_click_rate": int},
    "ip_signup": str, "timestamp_signup": str, "ip_opt": str, "timestamp_opt": str, "member_rating": int,
    "last_changed": str, "language": str, "vip": bool, "email_client": str,
    "location": {
        "latitude": int, "longitude": int, "gmtoff": int, "dstoff": int, "country_code": str, "timezone": str,
        "region": str,
    },
    "source": str, "tags_count": int, "tags": list, "list_id": str, "_links": [LINK],
}  # fmt: skip
LIST: Shape = {
    "id": str, "web_id": int, "name": str, "permission_reminder": str, "use_archive_bar": bool,
    "campaign_defaults": {"from_name": str, "from_email": str, "subject": str, "language": str},
    "notify_on_subscribe": str, "notify_on_unsubscribe": str, "date_created": str, "list_rating": int,
    "email_type_option": bool, "subscribe_url_short": str, "subscribe_url_long": str, "beamer_address": str,
    "visibility": str, "double_optin": bool, "has_welcome": bool, "marketing_permissions": bool, "modules": list,
    "stats": {
        "member_count": int, "unsubscribe_count": int, "cleaned_count": int, "member_count_since_send": int,
        "unsubscribe_count_since_send": int, "cleaned_count_since_send": int, "campaign_count": int,
        "campaign_last_sent": str, "merge_field_count": int, "avg_sub_rate": int, "avg_unsub_rate": int,
        "target_sub_rate": int, "open_rate": int, "click_rate": int, "last_sub_date": str, "last_unsub_date": str,
    },
    "_links": [LINK],
}  # fmt: skip
MERGE_FIELD: Shape = {
    "merge_id": int, "tag": str, "name": str, "type": str, "required": bool, "default_value": str, "public": bool,
    "display_order": int, "options": dict, "help_text": str, "list_id": str, "_links": [LINK],
}  # fmt: skip
PROBLEM: Shape = {"type": str, "title": str, "status": int, "detail": str, "instance": str}
CONSTRAINTS: Shape = {"may_create": bool, "max_instances": int, "current_total_instances": int}


def _full() -> Place:
    at = place()
    at.members.fill(50, changed_between=(1_600_000_000, 1_600_001_000), seed=1, archived_share=0.1)
    return at


def _mismatches(value: Any, shape: Any, where: str = "") -> list[str]:
    """Return the values that do not match the shape, with their paths."""
    if isinstance(shape, type):
        return [] if type(value) is shape else [f"{where}: {type(value).__name__} where {shape.__name__} is expected"]
    if isinstance(shape, list):
        return [text for item in value for text in _mismatches(item, shape[0], f"{where}[]")]
    names = set(shape) - {"targetSchema", "schema"}
    if not names <= set(value) or set(value) - names - {"targetSchema", "schema"}:
        return [f"{where}: {sorted(set(value) ^ names)}"]
    return [text for name in names for text in _mismatches(value[name], shape[name], f"{where}.{name}")]


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        pytest.param(
            MEMBERS, {"members": [MEMBER], "list_id": str, "total_items": int, "_links": [LINK]}, id="members"
        ),
        pytest.param(f"{MEMBERS}/leaf.1@example.com", PROBLEM, id="no such member"),
        pytest.param("/3.0/lists", {
            "lists": [LIST], "total_items": int, "constraints": CONSTRAINTS, "_links": [LINK]}, id="lists"),
        pytest.param(f"/3.0/lists/{LIST_ID}", LIST, id="a list"),
        pytest.param(f"/3.0/lists/{LIST_ID}/merge-fields", {
            "merge_fields": [MERGE_FIELD], "list_id": str, "total_items": int, "_links": [LINK]}, id="merge fields"),
        pytest.param("/3.0/nothing", PROBLEM, id="a problem"),
    ],
)  # fmt: skip
def test_names_and_types_are_those_of_recorded_answers(path: str, shape: Shape) -> None:
    assert _mismatches(json.loads(_full().get(path).body), shape) == []


def test_one_member_looks_as_on_a_page() -> None:
    at = _full()
    for member in at.page()["members"]:
        one = json.loads(at.get(f"{MEMBERS}/{member['id']}").body)
        assert (one, _mismatches(one, MEMBER)) == (member, [])


def test_a_mismatch_is_found() -> None:
    assert _mismatches({"a": 1, "b": []}, {"a": str, "b": [str]}) == [".a: int where str is expected"]
    assert _mismatches({"a": 1}, {"b": int}) == [": ['a', 'b']"]


@pytest.mark.parametrize(
    ("path", "kind", "schema"),
    [
        pytest.param(MEMBERS, "application/json; charset=utf-8", "Lists/Members/Collection.json", id="a page"),
        pytest.param(
            "/3.0/nothing", "application/problem+json; charset=utf-8", "Definitions/ProblemDetailDocument.json",
            id="a problem",
        ),
    ],
)  # fmt: skip
def test_header_fields_are_those_of_recorded_answers(path: str, kind: str, schema: str) -> None:
    headers = _full().get(path).headers
    assert headers.keys() == {"Server", "Content-Type", "Vary", "X-Request-Id", "Link", "Date"}
    assert (headers["Content-Type"], headers["Server"]) == (kind, "openresty")
    assert headers["Link"] == f'<https://us1.api.mailchimp.com/schema/3.0/{schema}>; rel="describedBy"'


def test_a_problem_carries_the_id_of_its_request() -> None:
    at = place()
    answers = [at.get("/3.0/nothing") for _ in range(2)]
    instances = [json.loads(answer.body)["instance"] for answer in answers]
    assert instances == [answer.headers["X-Request-Id"] for answer in answers]
    assert instances[0] != instances[1]


def test_a_member_is_about_as_long_as_a_real_one() -> None:
    at = _full()
    whole = len(at.sandbox.answer(get(MEMBERS)).body) / 10
    bare = len(at.sandbox.answer(get(MEMBERS, {"exclude_fields": "members._links"})).body) / 10
    assert 2500 < whole < 4000
    assert 700 < bare < 1000


def test_a_list_with_custom_merge_fields_shows_them() -> None:
    at = place()
    at.account.add_list("aaaaaaaaaa", merge_fields=("VORNAME",)).add(
        "a@example.com", merge_fields={"VORNAME": "x", "NO": 1}
    )
    page = json.loads(at.get("/3.0/lists/aaaaaaaaaa/members").body)
    assert [member["merge_fields"] for member in page["members"]] == [{"VORNAME": "x"}]
