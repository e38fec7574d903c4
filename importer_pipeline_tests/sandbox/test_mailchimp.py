"""The routes of Mailchimp: parameters, keys and errors."""

import base64
import json
from typing import Any

import pytest

from importer_pipeline.sandbox.mailchimp import utc_moment
from importer_pipeline.sandbox.messages import SandboxRequest
from importer_pipeline_tests.sandbox.asking import KEY, LIST_ID, MEMBERS, NOW, TOKEN, place

SORTED = {"sort_field": "last_changed"}


def _basic(secret: str, user: str = "anyone") -> str:
    return "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()


@pytest.mark.parametrize(
    "authorization",
    [
        pytest.param(_basic(KEY), id="key by Basic"),
        pytest.param(_basic(TOKEN, user=""), id="token by Basic without a user"),
        pytest.param(f"Bearer {KEY}", id="key by Bearer"),
        pytest.param(f"bearer {TOKEN}", id="token by Bearer"),
    ],
)
def test_keys_and_tokens_open_the_account_both_ways(authorization: str) -> None:
    answer = place().get("/3.0/ping", authorization=authorization)
    assert (answer.status, json.loads(answer.body)) == (200, {"health_status": "Everything's Chimpy!"})


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer wrong", _basic("wrong"), _basic(""), "Basic ???", "Basic /w==", f"Digest {KEY}"],
)
@pytest.mark.parametrize("path", ["/3.0/ping", MEMBERS, "/3.0/nothing"])
def test_any_other_key_is_refused_with_401(authorization: str, path: str) -> None:
    answer = place().get(path, authorization=authorization)
    assert (answer.status, json.loads(answer.body)["title"]) == (401, "API Key Invalid")


def test_a_revoked_key_is_refused_and_the_other_one_is_not() -> None:
    at = place()
    at.account.secrets.remove(KEY)
    assert at.get("/3.0/ping").status == 401
    assert at.get("/3.0/ping", authorization=f"Bearer {TOKEN}").status == 200


def test_a_disabled_account_answers_403_to_everything() -> None:
    at = place()
    at.account.disabled = True
    answer = at.get(MEMBERS)
    assert (answer.status, json.loads(answer.body)["title"]) == (403, "User Disabled")


@pytest.mark.parametrize(
    "path",
    ["/3.0/lists/other", "/3.0/lists/other/members", f"{MEMBERS}/other", "/3.0/lists/other/merge-fields", "/3.0/x"],
)
def test_an_unknown_path_is_404(path: str) -> None:
    answer = place().get(path)
    assert (answer.status, json.loads(answer.body)["title"]) == (404, "Resource Not Found")


def test_another_account_does_not_see_the_list() -> None:
    at = place()
    at.sandbox.add_account("other", api_key="f" * 32 + "-us1")
    assert at.get(MEMBERS, authorization=f"Bearer {'f' * 32}-us1").status == 404


@pytest.mark.parametrize(
    ("query", "length"),
    [
        pytest.param({}, 10, id="ten by default"),
        pytest.param({"count": "7"}, 7, id="as asked"),
        pytest.param({"count": "1000"}, 1000, id="a thousand"),
        pytest.param({"count": "5000"}, 1000, id="clamped to a thousand without a word"),
        pytest.param({"count": "100", "offset": "1150"}, 50, id="the rest"),
        pytest.param({"count": "100", "offset": "1200"}, 0, id="the very end"),
        pytest.param({"count": "100", "offset": "99999999"}, 0, id="far beyond the end"),
        pytest.param({"unknown": "x", "sort": "email"}, 10, id="unknown parameters are ignored"),
    ],
)
@pytest.mark.parametrize("order", [SORTED, {**SORTED, "sort_dir": "DESC"}, {}], ids=["up", "down", "unsorted"])
def test_a_page_has_as_many_members_as(query: dict[str, str], length: int, order: dict[str, str]) -> None:
    at = place()
    at.members.fill(1200, changed_between=(NOW - 900, NOW), seed=1)
    page = at.page(**query, **order)
    assert (len(page["members"]), page["total_items"]) == (length, 1200)


@pytest.mark.parametrize(
    "query", [{"count": "ten"}, {"count": "-1"}, {"offset": "-1"}, {"fields": "a", "exclude_fields": "b"}]
)
def test_invalid_parameters_are_400(query: dict[str, str]) -> None:
    answer = place().get(MEMBERS, query)
    assert (answer.status, json.loads(answer.body)["title"]) == (400, "Invalid Resource")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param({"since_last_changed": "2023-11-14T22:13:11+00:00"}, [2, 3], id="since is exclusive"),
        pytest.param({"before_last_changed": "2023-11-14T22:13:12+00:00"}, [0, 1, 2], id="before is inclusive"),
        pytest.param({"since_last_changed": "2023-11-14T22:13:11Z"}, [2, 3], id="Z is UTC too"),
        pytest.param({"since_last_changed": "2023-11-14T23:13:11+01:00"}, [0, 1, 2, 3], id="another offset is ignored"),
        pytest.param(
            {"since_last_changed": "2023-11-14T22:13:11 00:00"}, [0, 1, 2, 3], id="an unencoded plus is ignored"
        ),
        pytest.param({"since_last_changed": "yesterday"}, [0, 1, 2, 3], id="no time is ignored"),
        pytest.param(
            {"since_last_changed": "2023-11-14T22:13:10+00:00", "before_last_changed": "2023-11-14T22:13:12+00:00"},
            [1, 2], id="both",
        ),
        pytest.param(
            {"since_last_changed": "2023-11-14T22:13:12+00:00", "before_last_changed": "2023-11-14T22:13:10+00:00"},
            [], id="the wrong way round",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("order", [SORTED, {}], ids=["sorted", "unsorted"])
def test_bounds_of_time(query: dict[str, str], expected: list[int], order: dict[str, str]) -> None:
    at = place()
    for n in range(4):
        at.members.add(f"{n}@example.com", at=NOW - 10 + n)
    page = at.page(**query, **order)
    assert sorted(member["email_address"] for member in page["members"]) == [f"{n}@example.com" for n in expected]
    assert page["total_items"] == len(expected)


def test_query_times_are_read_to_the_second() -> None:
    assert utc_moment("2023-11-14T22:13:20+00:00") == NOW
    assert utc_moment("1969-12-31T23:59:59+00:00") == -1


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param({}, {"subscribed", "unsubscribed", "cleaned"}, id="all but the archived"),
        pytest.param({"status": "archived"}, {"archived"}, id="the archived"),
        pytest.param({"status": "unsubscribed"}, {"unsubscribed"}, id="one status"),
        pytest.param({"status": "pending"}, set(), id="a status that nobody has"),
    ],
)
def test_statuses(query: dict[str, str], expected: set[str]) -> None:
    at = place()
    for status in ("subscribed", "unsubscribed", "cleaned", "archived"):
        at.members.add(f"{status}@example.com", status=status)
    page = at.page(**query)
    assert {member["status"] for member in page["members"]} == expected
    assert page["total_items"] == len(expected)


def test_sorting_up_and_down() -> None:
    at = place(ties="stable")
    at.members.fill(300, changed_between=(NOW - 200, NOW), seed=1)
    up, down = at.emails(), at.emails(sort_dir="DESC")
    assert up == down[::-1]
    assert at.emails(offset="20", count="30") == up[20:50]
    assert at.emails(offset="20", count="30", sort_dir="DESC") == down[20:50]


def test_without_sort_field_the_order_is_arbitrary_but_stable() -> None:
    at = place()
    at.members.fill(200, changed_between=(NOW - 2000, NOW), seed=1)
    pages = [at.page(count="1000", fields="members.last_changed") for _ in range(2)]
    moments = [member["last_changed"] for member in pages[0]["members"]]
    assert moments not in (sorted(moments), sorted(moments, reverse=True))
    assert pages[0] == pages[1]


@pytest.mark.parametrize(
    ("query", "keys", "member_keys"),
    [
        pytest.param({"fields": "total_items"}, {"total_items"}, None, id="without members"),
        pytest.param({"fields": "members.id,members.status"}, {"members"}, {"id", "status"}, id="fields"),
        pytest.param({"fields": "members.id,nothing"}, {"members"}, {"id"}, id="a wrong path"),
        pytest.param({"fields": "id"}, set(), None, id="a path that does not start at the root"),
        pytest.param({"exclude_fields": "_links,list_id,members"}, {"total_items"}, None, id="exclude"),
    ],
)
def test_fields_of_a_page(query: dict[str, str], keys: set[str], member_keys: set[str] | None) -> None:
    at = place()
    at.members.add("a@example.com")
    page = at.page(**query)
    assert page.keys() == keys
    assert member_keys is None or [member.keys() for member in page["members"]] == [member_keys]


@pytest.mark.parametrize("handle", ["id", "email_address", "contact_id"])
def test_one_member_is_found_by(handle: str) -> None:
    at = place()
    at.members.fill(20, changed_between=(1, 2), seed=1)
    for member in at.page(count="20")["members"]:
        found = json.loads(at.get(f"{MEMBERS}/{member[handle]}").body)
        assert found == member


def test_fields_of_one_member() -> None:
    at = place()
    member_id = at.members.add("a@example.com")
    assert json.loads(at.get(f"{MEMBERS}/{member_id}", {"fields": "id,merge_fields.LNAME"}).body) == {
        "id": member_id, "merge_fields": {"LNAME": ""},
    }  # fmt: skip


def test_merge_fields_come_ten_at_a_time() -> None:
    at = place()
    at.account.add_list("aaaaaaaaaa", merge_fields=[f"TAG{n}" for n in range(12)])
    pages: list[dict[str, Any]] = [
        json.loads(at.get("/3.0/lists/aaaaaaaaaa/merge-fields", query).body) for query in ({}, {"offset": "10"})
    ]
    assert [[field["tag"] for field in page["merge_fields"]] for page in pages] == [
        [f"TAG{n}" for n in range(10)], ["TAG10", "TAG11"],
    ]  # fmt: skip
    assert {page["total_items"] for page in pages} == {12}


def test_the_member_count_of_a_list_counts_the_subscribed_only() -> None:
    at = place()
    for status in ("subscribed", "unsubscribed", "archived"):
        at.members.add(f"{status}@example.com", status=status)
    assert json.loads(at.get(f"/3.0/lists/{LIST_ID}").body)["stats"]["member_count"] == 1


def test_date_header_and_stamps_come_from_the_accounts_clock() -> None:
    at = place()
    at.account.clock_offset_seconds = 90.5
    at.members.add("a@example.com")
    assert at.get(MEMBERS).headers["Date"] == "Tue, 14 Nov 2023 22:14:50 GMT"
    assert at.page()["members"][0]["last_changed"] == "2023-11-14T22:14:50+00:00"


def test_writing_is_not_allowed() -> None:
    request = SandboxRequest(method="PUT", path=MEMBERS, query={}, headers={"Authorization": f"Bearer {KEY}"})
    assert place().sandbox.answer(request).status == 405


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        pytest.param(f"OAuth {TOKEN}", {"dc": "us1", "api_endpoint": "http://127.0.0.1:1"}, id="a token"),
        pytest.param("OAuth wrong", {"error": "invalid_token"}, id="a wrong token"),
        pytest.param(f"Bearer {TOKEN}", {"error": "invalid_token"}, id="another scheme"),
    ],
)
def test_the_metadata_of_a_token_are_200_in_any_case(authorization: str, expected: dict[str, str]) -> None:
    headers = {"authorization": authorization, "host": "127.0.0.1:1"}
    request = SandboxRequest(method="GET", path="/oauth2/metadata", query={}, headers=headers)
    answer = place().sandbox.answer(request)
    document = json.loads(answer.body)
    assert answer.status == 200
    assert {name: document[name] for name in expected} == expected


def test_a_segment_shows_its_subscribed_members_in_pages() -> None:
    at = place()
    wanted = [at.members.add(f"{n}@example.com") for n in range(12)]
    hidden = [at.members.add(f"{it}@example.com", status=it) for it in ("unsubscribed", "archived")]
    at.members.add("outside@example.com")
    at.members.add_segment(7, [*wanted, *hidden])
    path = f"/3.0/lists/{LIST_ID}/segments/7/members"
    pages = [json.loads(at.get(path, {"offset": offset, "fields": "members.id,total_items"}).body) for offset in "05"]
    assert [[member["id"] for member in page["members"]] for page in pages] == [wanted[:10], wanted[5:]]
    assert json.loads(at.get(path, {"include_unsubscribed": "true"}).body)["total_items"] == 13
    assert at.get(f"/3.0/lists/{LIST_ID}/segments/8/members").status == 404
