"""Contacts of overlapping pages, counted once: for any pages, in any order."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from importer_pipeline.engine.outcomes import RefusedContact
from importer_pipeline.engine.pages import Page
from importer_pipeline.engine.repeats import Repeats
from importer_pipeline.engine.report import DeliveredPage
from importer_pipeline.listing.coverage import PageShape, timestamp
from importer_pipeline_tests.support.factories import contact

SECONDS = st.lists(st.integers(0, 6), min_size=1, max_size=14).map(sorted)
CUTS = st.lists(st.tuples(st.integers(0, 13), st.integers(1, 6)), max_size=8)
"""The first contact of each page, and their number."""


def page(seconds: list[int], ids: list[int], *, key: str = "0", refused: int | None = None) -> DeliveredPage:
    """A page of these contacts, delivered but for one of them."""
    bad = [RefusedContact(contact_id=str(refused), reason="")] if refused in ids else []
    shape = PageShape(length=len(ids), first=seconds[0] if seconds else 0, last=seconds[-1] if seconds else 0, total=99)
    return DeliveredPage(
        page=Page(
            shape=shape,
            contacts=[contact(str(it)) for it in ids],
            stamps=[timestamp(it) for it in seconds],
            lacking=Counter(),
            server_time=0,
        ),
        window=key,
        accepted=len(ids) - len(bad),
        refused=bad,
        sent_ids=None,
        at=0,
        contact_id=None,
    )


@given(seconds=SECONDS, cuts=CUTS, refused=st.none() | st.integers(0, 13))
def test_each_contact_counts_once_whatever_pages_it_is_in(
    seconds: list[int], cuts: list[tuple[int, int]], refused: int | None
) -> None:
    repeats, seen = Repeats(), set[int]()
    for start, count in cuts:
        ids = list(range(len(seconds)))[start : start + count]
        counts = repeats.count(page(seconds[start : start + count], ids, refused=refused))
        new = set(ids) - seen
        assert (counts.read, counts.accepted) == (len(new), len(new - {refused}))
        assert counts.again == {str(it) for it in ids if it in seen}
        seen |= set(ids)


def test_archived_contacts_are_not_those_of_the_same_seconds() -> None:
    repeats = Repeats()
    repeats.count(page([1, 5], [1, 2]))
    assert repeats.count(page([2, 3], [3, 4], key="archived-0")).read == 2
