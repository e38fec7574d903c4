"""From an answer of Mailchimp to a page for the engine."""

import json
from collections import Counter
from typing import Any

import pytest

from importer_pipeline.errors import BrokenAnswer, ListNotFound
from importer_pipeline.http.wire import Answer
from importer_pipeline.listing.coverage import PageRequest, PageShape
from importer_pipeline.mailchimp.pages import open_page
from importer_pipeline.records.contacts import DEFAULT_RECORD, Record, RecordMapping

MAPPING = RecordMapping.of(DEFAULT_RECORD, list_id="1a2d7ebf82")
ASK = PageRequest(since=-1, before=1000, offset=0, count=2)
DATE = "Thu, 01 Jan 1970 00:20:00 GMT"


def member(number: int, **values: Any) -> dict[str, Any]:
    return {
        "id": f"id{number}",
        "last_changed": f"1970-01-01T00:00:{number:02}+00:00",
        "email_address": f"leaf.{number}@example.com",
        "merge_fields": {"FNAME": "Amber", "LNAME": "Alder"},
        "status": "subscribed",
        **values,
    }


def answer(members: list[dict[str, Any]], *, total: int, date: str | None = DATE) -> Answer:
    headers = {} if date is None else {"Date": date}
    return Answer(status=200, headers=headers, body=json.dumps({"members": members, "total_items": total}).encode())


def test_a_page_has_its_shape_its_contacts_and_mailchimps_clock() -> None:
    page = open_page(answer([member(7), member(9)], total=5), ASK, MAPPING)
    assert page.shape == PageShape(length=2, first=7, last=9, total=5)
    assert [contact.record for contact in page.contacts] == [
        Record(f"id{number}", "Amber", "Alder", f"leaf.{number}@example.com", "subscribed") for number in (7, 9)
    ]
    assert page.server_time == 1200
    assert page.lacking == Counter()


def test_a_page_counts_what_its_contacts_lack() -> None:
    page = open_page(answer([member(7, merge_fields=None), member(9, status=None)], total=2), ASK, MAPPING)
    assert page.lacking == {"merge_fields.FNAME": 1, "merge_fields.LNAME": 1, "status": 1}


def test_a_page_without_a_date_tells_no_time() -> None:
    assert open_page(answer([member(7)], total=1, date=None), ASK, MAPPING).server_time is None


@pytest.mark.parametrize(
    ("members", "total"),
    [
        pytest.param([member(9), member(7)], 2, id="unsorted"),
        pytest.param([member(7, last_changed="2030-01-01T00:00:00+00:00")], 1, id="out of bounds"),
    ],
)
def test_a_page_that_can_not_be_the_answer_is_broken(members: list[dict[str, Any]], total: int) -> None:
    with pytest.raises(BrokenAnswer) as caught:
        open_page(answer(members, total=total), ASK, MAPPING)
    assert "leaf" not in str(caught.value)


GONE = {"type": "about:blank", "title": "Resource Not Found", "status": 404, "detail": "?"}


def test_an_answer_without_a_page_is_the_error_it_stands_for() -> None:
    with pytest.raises(ListNotFound):
        open_page(Answer(status=404, headers={}, body=json.dumps(GONE).encode()), ASK, MAPPING)
