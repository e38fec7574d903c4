"""One page to the target: refused contacts are found by halves, for a bounded number of posts, and the others go in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from importer_pipeline.engine.delivery import Batch, Delivery
from importer_pipeline.errors import IsolationGivenUp, RecordRefused, Unavailable
from importer_pipeline.records.contacts import Contact
from importer_pipeline.records.receipt import Receipt, RefusedRecord
from importer_pipeline_tests.support.factories import contact, record, unsendable

REFUSED = RecordRefused("the target refuses the batch (HTTP 422)", status=422)
MANNERS = pytest.mark.parametrize("rejects", [False, True], ids=["by a lower number", "by a 4xx"])


def contacts(count: int) -> list[Contact]:
    return [contact(str(number)) for number in range(count)]


def ids(batch: Batch) -> list[str]:
    return [contact.contact_id for contact in batch.contacts]


def deliver(delivery: Delivery, refused: set[str], *, rejects: bool) -> list[list[str]]:
    """Post until nothing is left, to a target that refuses these; the ids of each post."""
    posts = list[list[str]]()
    while (batch := delivery.next()) is not None:
        posts.append(ids(batch))
        bad = refused.intersection(ids(batch))
        if bad and rejects:
            delivery.rejected(batch, REFUSED)
        else:
            delivery.answered(batch, Receipt(sent=len(batch.contacts), accepted=len(batch.contacts) - len(bad)))
    return posts


def test_a_page_goes_out_whole_and_in_order() -> None:
    delivery = Delivery(contacts(5), isolation_posts=64)
    assert not delivery.done
    batch = delivery.next()
    assert batch is not None
    assert batch.records == [record(str(number)) for number in range(5)]
    assert delivery.next() is None
    delivery.answered(batch, Receipt(sent=5, accepted=5))
    assert delivery.done
    assert (delivery.accepted, delivery.refused) == (5, [])


def test_an_empty_page_is_done_without_a_post() -> None:
    delivery = Delivery([], isolation_posts=64)
    assert delivery.done
    assert delivery.next() is None


def test_contacts_without_a_record_are_refused_and_not_sent() -> None:
    delivery = Delivery([contact("a"), unsendable(), unsendable("b")], isolation_posts=64)
    assert deliver(delivery, set(), rejects=False) == [["a"]]
    assert delivery.accepted == 1
    assert [(one.contact_id, one.reason) for one in delivery.refused] == [
        ("", "no email address"),
        ("b", "no email address"),
    ]


@MANNERS
def test_a_refused_contact_is_found_by_halves(rejects: bool) -> None:
    delivery = Delivery(contacts(8), isolation_posts=64)
    posts = deliver(delivery, {"5"}, rejects=rejects)
    assert posts[0] == list("01234567")
    assert sorted(posts[1:]) == sorted([list("0123"), list("4567"), list("45"), list("67"), ["4"], ["5"]])
    assert delivery.done
    assert delivery.accepted == 7
    assert [one.contact_id for one in delivery.refused] == ["5"]


@MANNERS
@given(count=st.integers(0, 40), refused=st.sets(st.integers(0, 39)))
def test_each_contact_ends_as_accepted_or_refused(rejects: bool, count: int, refused: set[int]) -> None:
    delivery = Delivery(contacts(count), isolation_posts=1000)
    bad = {str(number) for number in refused if number < count}
    deliver(delivery, bad, rejects=rejects)
    assert delivery.done
    assert delivery.given_up is None
    assert {one.contact_id for one in delivery.refused} == bad
    assert len(delivery.refused) == len(bad)
    assert delivery.accepted == count - len(bad)


@pytest.mark.parametrize(
    ("rejects", "reason"),
    [
        pytest.param(False, "the target accepted 0 of 1 records", id="by a lower number"),
        pytest.param(True, "the target refuses the batch (HTTP 422)", id="by a 4xx"),
    ],
)
def test_the_reason_comes_from_the_post_of_the_contact_alone(rejects: bool, reason: str) -> None:
    delivery = Delivery(contacts(4), isolation_posts=64)
    deliver(delivery, {"2"}, rejects=rejects)
    assert (
        delivery.refused[0].reason == f"{reason}: correct this contact in Mailchimp, or ask the target's operator why"
    )


def test_a_transient_failure_is_said_to_come_every_time() -> None:
    delivery = Delivery(contacts(1), isolation_posts=64)
    batch = delivery.next()
    assert batch is not None
    delivery.rejected(batch, Unavailable("the target can't answer now (HTTP 500)"))
    assert delivery.refused[0].reason == (
        "the target can't answer now (HTTP 500), every time, while others were accepted: "
        "correct this contact in Mailchimp, or ask the target's operator why"
    )


def test_a_record_refused_only_the_second_time_is_found() -> None:
    delivery = Delivery(contacts(2), isolation_posts=64)
    whole = delivery.next()
    assert whole is not None
    delivery.answered(whole, Receipt(sent=2, accepted=1))
    deliver(delivery, {"0", "1"}, rejects=True)
    assert {one.contact_id for one in delivery.refused} == {"0", "1"}
    assert delivery.accepted == 0


@MANNERS
def test_a_page_is_given_up_when_isolation_exceeds_64_posts(rejects: bool) -> None:
    delivery = Delivery(contacts(1000), isolation_posts=64)
    posts = 0
    while delivery.given_up is None:
        batch = delivery.next()
        assert batch is not None
        posts += 1
        if rejects:
            delivery.rejected(batch, REFUSED)
        else:
            delivery.answered(batch, Receipt(sent=len(batch.contacts), accepted=0))
    assert posts <= 1 + 64
    assert isinstance(delivery.given_up, IsolationGivenUp)
    assert "finding the rejected contacts takes too many posts: check the record mapping" in str(delivery.given_up)
    assert not delivery.done


def test_exactly_as_many_posts_as_allowed_are_enough() -> None:
    assert len(deliver(enough := Delivery(contacts(8), isolation_posts=6), {"5"}, rejects=True)) == 7
    assert enough.done
    deliver(short := Delivery(contacts(8), isolation_posts=5), {"5"}, rejects=True)
    assert short.given_up is not None


def test_64_posts_find_three_refused_contacts_of_a_full_page() -> None:
    delivery = Delivery(contacts(1000), isolation_posts=64)
    posts = deliver(delivery, {"1", "500", "999"}, rejects=True)
    assert delivery.done
    assert len(posts) <= 65


def test_named_records_are_refused_without_another_post() -> None:
    delivery = Delivery(contacts(8), isolation_posts=64)
    batch = delivery.next()
    assert batch is not None
    refused = (RefusedRecord(id="5", reason="bad phone"), RefusedRecord(id="2"))
    assert delivery.answered(batch, Receipt(sent=8, accepted=6, refused=refused)) is None
    assert (delivery.next(), delivery.done, delivery.accepted) == (None, True, 6)
    assert [one.contact_id for one in delivery.refused] == ["2", "5"]
    assert "(bad phone)" in delivery.refused[1].reason


def test_what_is_neither_accepted_nor_refused_goes_again() -> None:
    delivery = Delivery(contacts(4), isolation_posts=64)
    batch = delivery.next()
    assert batch is not None
    rest = delivery.answered(
        batch, Receipt(sent=4, accepted=1, refused=(RefusedRecord(id="0"),), again=frozenset("12"))
    )
    assert rest is not None
    assert ids(rest) == ["1", "2"]
    assert not delivery.done
    delivery.answered(rest, Receipt(sent=2, accepted=2))
    assert (delivery.done, delivery.accepted) == (True, 3)


def test_a_page_with_too_many_named_records_is_given_up() -> None:
    delivery = Delivery(contacts(8), isolation_posts=3, batch_records=4)
    for expected in (list("0123"), list("4567")):
        batch = delivery.next()
        assert batch is not None
        assert ids(batch) == expected
        delivery.answered(
            batch, Receipt(sent=4, accepted=2, refused=tuple(RefusedRecord(id=it) for it in expected[:2]))
        )
    assert isinstance(delivery.given_up, IsolationGivenUp)
