"""What an account holds besides its members: who it is, its lists, and their merge fields.

For people who set up or check a client; no sync reads any of it. Stays out: members (`client.py`), and retries.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from importer_pipeline.errors import BrokenAnswer
from importer_pipeline.mailchimp.client import MailchimpClient, check_api, json_object

_PAGE = 500
_LIST_FIELDS = ("id", "name", "stats.member_count")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountDetails:
    """Who an account is.

    Attributes:
        account_id: Mailchimp's id of it, the same whichever key asks.
        name: its name at Mailchimp.
    """

    account_id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListDetails:
    """A list of an account.

    Attributes:
        list_id: Mailchimp's id of it.
        name: its name at Mailchimp.
        subscribed: number of subscribed contacts, minutes old (D). The others are not counted.
    """

    list_id: str
    name: str
    subscribed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeField:
    """A merge field of a list.

    Attributes:
        tag: its key in a member's `merge_fields`.
        name: its name for people.
        kind: Mailchimp's type, such as `text` or `address`.
    """

    tag: str
    name: str
    kind: str


def read_account(client: MailchimpClient) -> AccountDetails:
    """Request who the account is.

    Raises:
        RequestRefused: there is no API at this URL.
        ImporterError: by the answer, as for any request.
    """
    answer = client.get("/", {"fields": "account_id,account_name"})
    check_api(answer)
    found = json_object(answer, expected="the account")
    return AccountDetails(account_id=_text(found, "account_id"), name=_text(found, "account_name"))


def read_list_details(client: MailchimpClient, list_id: str) -> ListDetails:
    """Request a list. ListNotFound if the account has none with that id."""
    answer = client.get(f"/lists/{list_id}", {"fields": ",".join(_LIST_FIELDS)})
    return _list_of(json_object(answer, expected="a list"))


def read_lists(client: MailchimpClient) -> list[ListDetails]:
    """Request all lists of the account."""
    fields = ",".join(f"lists.{field}" for field in _LIST_FIELDS)
    return [_list_of(item) for item in _items(client, "/lists", "lists", fields)]


def read_merge_fields(client: MailchimpClient, list_id: str) -> list[MergeField]:
    """Request all merge fields of a list. ListNotFound if the account has none with that id."""
    path, kind = f"/lists/{list_id}/merge-fields", "merge_fields"
    fields = ",".join(f"{kind}.{field}" for field in ("tag", "name", "type"))
    found = _items(client, path, kind, fields)
    return [MergeField(tag=_text(it, "tag"), name=_text(it, "name"), kind=_text(it, "type")) for it in found]


def _items(client: MailchimpClient, path: str, kind: str, fields: str) -> Iterator[dict[str, Any]]:
    offset = 0
    while True:
        query = {"count": str(_PAGE), "offset": str(offset), "fields": f"{fields},total_items"}
        page = json_object(client.get(path, query), expected=f"a page of {kind}")
        items: Any = page.get(kind)
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise BrokenAnswer(f'expected a list "{kind}" of objects in the page, found none')
        yield from items
        offset += len(items)
        total = page.get("total_items")
        if not items or not isinstance(total, int) or offset >= total:
            return


def _list_of(found: dict[str, Any]) -> ListDetails:
    stats = found.get("stats")
    count = stats.get("member_count") if isinstance(stats, dict) else None
    return ListDetails(
        list_id=_text(found, "id"), name=_text(found, "name"), subscribed=count if isinstance(count, int) else 0
    )


def _text(found: dict[str, Any], key: str) -> str:
    value = found.get(key)
    return value if isinstance(value, str) else ""
