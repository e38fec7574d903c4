"""The keys of a snapshot's windows: in order, with walk and offset."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from importer_pipeline.listing.snapshots import AudienceName, parse_window_key, window_key
from importer_pipeline_tests.support.factories import snapshot


@pytest.mark.parametrize(("archived", "key"), [(False, "990"), (True, "archived-990")])
def test_the_key_of_a_window_tells_the_walk_and_the_offset(archived: bool, key: str) -> None:
    assert window_key(990, archived=archived) == key


@given(st.integers(0, 10**9), st.booleans())
def test_a_key_is_read_as_it_was_made(offset: int, archived: bool) -> None:
    assert parse_window_key(window_key(offset, archived=archived)) == (archived, offset)


@given(st.text(alphabet="0123456789-archived ", max_size=12) | st.text(max_size=5))
def test_what_is_read_as_a_key_is_one(text: str) -> None:
    parsed = parse_window_key(text)
    assert parsed is None or window_key(parsed[1], archived=parsed[0]) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "archived-",
        "-5",
        "+5",
        "007",
        "00",
        "1e3",
        "990 ",
        " 990",
        "990\n",
        "Archived-0",
        "archived-archived-0",
        "٣",
    ],
    ids=repr,
)
def test_what_is_no_key_is_read_as_none(text: str) -> None:
    assert parse_window_key(text) is None


def test_the_keys_of_a_snapshot_are_in_order_archived_last() -> None:
    taken = snapshot(total=2500, archived_total=1001, page_size=1000, overlap=10)
    assert taken.keys == ["0", "990", "1980", "archived-0", "archived-990"]


def test_no_archived_keys_while_the_archived_total_is_unknown() -> None:
    assert snapshot(total=9, archived_total=None).keys == ["0", "4", "8"]


def test_an_empty_snapshot_has_a_window_in_each_walk() -> None:
    assert snapshot(total=0, archived_total=0).keys == ["0", "archived-0"]


@given(st.integers(0, 3000), st.integers(0, 3000) | st.none(), st.integers(5, 50), st.integers(2, 4))
def test_the_keys_of_a_snapshot_are_the_offsets_of_both_walks(
    total: int, archived_total: int | None, page_size: int, overlap: int
) -> None:
    taken = snapshot(total=total, archived_total=archived_total, page_size=page_size, overlap=overlap)
    parsed = [parse_window_key(key) for key in taken.keys]
    assert None not in parsed
    assert parsed == sorted(parsed, key=lambda it: it or (False, 0))
    assert len(set(taken.keys)) == len(parsed)
    assert {offset % (page_size - overlap) for _, offset in filter(None, parsed)} == {0}


def test_an_audience_is_named_with_its_client() -> None:
    assert str(AudienceName("acme", "newsletter")) == "acme/newsletter"
