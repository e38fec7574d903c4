"""Mailchimp's resources as JSON: names, types and empty values as in recorded answers (V).

Stays out: the routes (`mailchimp`) and the fast rendering of pages of members (`rendering`).
"""

import hashlib
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from importer_pipeline.sandbox.members import ABSENT, Member, MemberList

API = "https://us1.api.mailchimp.com/3.0"
SCHEMA = "https://us1.api.mailchimp.com/schema/3.0"

_STATS = {"avg_open_rate": 0, "avg_click_rate": 0}
_LOCATION = {
    "latitude": 0, "longitude": 0, "gmtoff": 0, "dstoff": 0, "country_code": "", "timezone": "", "region": "",
}  # fmt: skip
_MERGE_FIELDS = {
    "FNAME": ("First Name", "text", {"size": 25}),
    "LNAME": ("Last Name", "text", {"size": 25}),
    "ADDRESS": ("Address", "address", {"default_country": 164}),
    "PHONE": ("Phone Number", "phone", {"phone_format": "none"}),
    "BIRTHDAY": ("Birthday", "birthday", {"date_format": "MM/DD"}),
}


_SECONDS = tuple(f"{second:02}+00:00" for second in range(60))


def iso(moment: int) -> str:
    """Format epoch seconds as Mailchimp does: UTC, with `+00:00`."""
    minutes, second = divmod(moment, 60)
    return _minute(minutes) + _SECONDS[second]


@lru_cache(maxsize=65536)  # The changes of a month.
def _minute(minutes: int) -> str:
    return datetime.fromtimestamp(minutes * 60, UTC).isoformat()[:17]


def short_hash(text: str, length: int = 10) -> str:
    """Return hexadecimal digits that depend on the text alone."""
    return hashlib.md5(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()[:length]


def member_document(member: Member, member_list: MemberList) -> dict[str, Any]:
    """Return a member with all of its fields."""
    list_id, values = member_list.list_id, member.merge_values
    merge_fields = None if values is None else dict(zip(member_list.tags, values, strict=True))
    names = (merge_fields or {}).get("FNAME", ""), (merge_fields or {}).get("LNAME", "")
    document = {
        "id": member.id,
        "email_address": member.email,
        "unique_email_id": short_hash(f"{list_id}{member.id}"),
        "contact_id": member.contact_id,
        "full_name": " ".join(str(name) for name in names if name),
        "web_id": 300_000_000 + member.serial,
        "email_type": "html",
        "status": member.status,
        "consents_to_one_to_one_messaging": True,
        "merge_fields": merge_fields,
        "stats": dict(_STATS),
        "ip_signup": "",
        "timestamp_signup": "",
        "ip_opt": f"192.0.2.{member.serial % 255}",
        "timestamp_opt": iso(member.changed),
        "member_rating": 2,
        "last_changed": iso(member.changed),
        "language": "",
        "vip": False,
        "email_client": "",
        "location": dict(_LOCATION),
        "source": "Import",
        "tags_count": 0,
        "tags": [],
        "list_id": list_id,
        "_links": _member_links(list_id, member.id),
    }
    document.update(member.oddities or {})
    return {name: value for name, value in document.items() if value is not ABSENT}


def list_document(member_list: MemberList) -> dict[str, Any]:
    """Return a list with all of its fields. Its `member_count` counts the subscribed only (D)."""
    list_id, counts = member_list.list_id, member_list.counts()
    return {
        "id": list_id,
        "web_id": int(short_hash(list_id, 5), 16),
        "name": member_list.name,
        "permission_reminder": "You are on this list because it is made up.",
        "use_archive_bar": True,
        "campaign_defaults": {"from_name": "S", "from_email": "list@example.com", "subject": "", "language": "en"},
        "notify_on_subscribe": "",
        "notify_on_unsubscribe": "",
        "date_created": "2020-01-01T00:00:00+00:00",
        "list_rating": 0,
        "email_type_option": False,
        "subscribe_url_short": f"https://short.example.com/{list_id}",
        "subscribe_url_long": f"https://sandbox.us1.example.com/subscribe?id={list_id}",
        "beamer_address": f"us1-{list_id}@inbound.example.com",
        "visibility": "prv",
        "double_optin": False,
        "has_welcome": False,
        "marketing_permissions": False,
        "modules": [],
        "stats": {
            "member_count": counts["subscribed"],
            "unsubscribe_count": counts["unsubscribed"],
            "cleaned_count": counts["cleaned"],
            "member_count_since_send": counts["subscribed"],
            "unsubscribe_count_since_send": 0,
            "cleaned_count_since_send": 0,
            "campaign_count": 0,
            "campaign_last_sent": "",
            "merge_field_count": len(member_list.tags),
            "avg_sub_rate": 0,
            "avg_unsub_rate": 0,
            "target_sub_rate": 0,
            "open_rate": 0,
            "click_rate": 0,
            "last_sub_date": "",
            "last_unsub_date": "",
        },
        "_links": [
            _link("self", f"/lists/{list_id}", "Lists/Response.json"),
            _link("parent", "/lists", "Lists/CollectionResponse.json"),
            _link("members", f"/lists/{list_id}/members", "Lists/Members/CollectionResponse.json"),
            _link("merge-fields", f"/lists/{list_id}/merge-fields", "Lists/MergeFields/CollectionResponse.json"),
        ],
    }


def merge_field_documents(member_list: MemberList) -> list[dict[str, Any]]:
    """Return the merge fields of a list, with all of their fields."""
    return [_merge_field(member_list.list_id, number, tag) for number, tag in enumerate(member_list.tags, start=1)]


def collection_links(path: str, schema: str) -> list[dict[str, str]]:
    """Return the `_links` of a collection."""
    return [_link("self", path, f"{schema}/CollectionResponse.json")]


def _merge_field(list_id: str, number: int, tag: str) -> dict[str, Any]:
    name, kind, options = _MERGE_FIELDS.get(tag, (tag.title(), "text", {"size": 25}))
    path = f"/lists/{list_id}/merge-fields"
    return {
        "merge_id": number,
        "tag": tag,
        "name": name,
        "type": kind,
        "required": False,
        "default_value": "",
        "public": False,
        "display_order": number + 1,
        "options": dict(options),
        "help_text": "",
        "list_id": list_id,
        "_links": [
            _link("self", f"{path}/{number}", "Lists/MergeFields/Response.json"),
            _link("parent", path, "Lists/MergeFields/CollectionResponse.json"),
        ],
    }


def _member_links(list_id: str, member_id: str) -> list[dict[str, str]]:
    parent = f"/lists/{list_id}/members"
    one, schema = f"{parent}/{member_id}", "Lists/Members"
    return [
        _link("self", one, f"{schema}/Response.json"),
        _link("parent", parent, f"{schema}/CollectionResponse.json"),
        _link("update", one, f"{schema}/Response.json", method="PATCH"),
        _link("upsert", one, f"{schema}/Response.json", method="PUT"),
        {"rel": "delete", "href": f"{API}{one}", "method": "DELETE"},
        _link("activity", f"{one}/activity", f"{schema}/Activity/Response.json"),
        _link("goals", f"{one}/goals", f"{schema}/Goals/Response.json"),
        _link("notes", f"{one}/notes", f"{schema}/Notes/CollectionResponse.json"),
        _link("events", f"{one}/events", f"{schema}/Events/POST.json", method="POST"),
        {"rel": "delete_permanent", "href": f"{API}{one}/actions/delete-permanent", "method": "POST"},
    ]


def _link(rel: str, path: str, schema: str, *, method: str = "GET") -> dict[str, str]:
    return {"rel": rel, "href": f"{API}{path}", "method": method, "targetSchema": f"{SCHEMA}/Definitions/{schema}"}
