"""Reading an account's other resources, for assets of one's own. No contact is imported this way.

Stays out: waiting for a connection (`limited_calls`), and what an answer means (`mailchimp/`).
"""

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from importer_pipeline.errors import BrokenAnswer, SelectionUnknown
from importer_pipeline.mailchimp.client import MailchimpClient, read_document
from importer_pipeline.runner.limited_calls import LimitedCalls

_MAX_PAGE = 1000

Query = Mapping[str, str | int | bool]
"""Parameters of a request, by name."""


class MailchimpReader:
    """Reads a Mailchimp account with GET requests, each counted among the account's ten connections.

    A connection is held only while a request is in flight; with none free, a request waits. Reading needs no lock of the
    account: that is for syncs, of which only one at a time may record what was imported. Threads may share a reader.

    Args:
        account: sends the requests.
        calls: waits for the account's connections.
        list_id: Mailchimp's id of the audience that it was made for; None if it was made for a whole client.
    """

    def __init__(self, account: MailchimpClient, calls: LimitedCalls, *, list_id: str | None) -> None:
        self._account = account
        self._calls = calls
        self._list_id = list_id

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def list_id(self) -> str:
        """Mailchimp's id of the audience.

        Raises:
            SelectionUnknown: the reader was made for a whole client.
        """
        if self._list_id is None:
            raise SelectionUnknown(
                "a client's account has several lists", remedy="name the audience, like client/audience"
            )
        return self._list_id

    def get(self, path: str, params: Query | None = None) -> dict[str, Any]:
        """Return the JSON object at a path, like `/lists/1a2d7ebf82/segments`.

        Args:
            path: below the API's root, without a query.
            params: the query, like `{"count": 100, "fields": "segments.id,segments.name"}`.

        Raises:
            NoFreeConnection: all connections of the account were in use for too long.
            RequestRefused: Mailchimp refuses the request, has nothing at the path, or the path is none.
            TryAgain: no answer, or none that is a JSON object, after all retries.
            StopClient: the key is refused, or no connection is possible.
        """
        query = {name: _text(value) for name, value in (params or {}).items()}
        return self._calls.call(lambda: self._account.get(path, query), read_document)

    def items(
        self, path: str, key: str, params: Query | None = None, *, page_size: int = _MAX_PAGE
    ) -> Iterator[dict[str, Any]]:
        """Yield the objects of a paged collection, page by page by `offset` and `count`.

        A collection that changes meanwhile moves its offsets: an object may be missing or come twice. What must be
        complete is imported by `last_changed` instead: see `contacts`.

        Args:
            path: of the collection, like `/lists/1a2d7ebf82/segments`.
            key: under which a page has its objects, like `segments`.
            params: further parameters, like `fields`; `count` and `offset` are set here.
            page_size: objects of a page, up to 1000.

        Raises:
            BrokenAnswer: a page is not one of such a collection.
            ImporterError: as `get`.
        """
        query = dict(params or {})
        if fields := query.get("fields"):
            query["fields"] = f"{fields},total_items"
        offset, total = 0, 1
        while offset < total:
            page = self.get(path, {**query, "count": page_size, "offset": offset})
            found, total = page.get(key), page.get("total_items")
            if not isinstance(found, list) or not all(isinstance(it, dict) for it in found) or type(total) is not int:
                raise BrokenAnswer('expected a page with a list of objects and a number "total_items", got other JSON')
            if not found:
                return
            yield from found
            offset += len(found)

    def segment_members(self, segment_id: int, *, fields: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
        """Yield the subscribed members of a segment of the audience, as Mailchimp sends them.

        Args:
            segment_id: Mailchimp's id of the segment or tag.
            fields: of each member, like `id` or `merge_fields.FNAME`; all if empty.

        Raises:
            SelectionUnknown: the reader was made for a whole client.
            ImporterError: as `items`.
        """
        params = {"fields": ",".join(f"members.{field}" for field in fields)} if fields else {}
        return self.items(f"/lists/{self.list_id}/segments/{segment_id}/members", "members", params)

    def close(self) -> None:
        """Close the connections. The resource closes the readers that it made, too."""
        self._account.close()


def _text(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
