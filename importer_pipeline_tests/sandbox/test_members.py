"""Changes of members, and pages that show them."""

import hashlib

import pytest

from importer_pipeline.sandbox.members import ABSENT, Selection, member_id
from importer_pipeline_tests.sandbox.asking import NOW, place


def test_the_id_is_the_md5_of_the_lower_case_address() -> None:
    at = place()
    assert at.members.add("Leaf@Example.com") == hashlib.md5(b"leaf@example.com").hexdigest()


def test_a_change_moves_a_member_to_the_end() -> None:
    at = place()
    ids = [at.members.add(f"{n}@example.com", at=NOW - 100 + n) for n in range(3)]
    at.members.update(ids[0], merge_fields={"FNAME": "Coral"})
    assert at.emails() == ["1@example.com", "2@example.com", "0@example.com"]
    assert at.page(sort_field="last_changed", count="3")["members"][2]["merge_fields"]["FNAME"] == "Coral"


def test_an_update_keeps_the_merge_fields_that_it_does_not_name() -> None:
    at = place()
    handle = at.members.add("a@example.com", merge_fields={"FNAME": "Coral", "LNAME": "Elm"})
    at.members.update(handle, merge_fields={"FNAME": "Jade"})
    assert at.page()["members"][0]["merge_fields"] == {
        "FNAME": "Jade", "LNAME": "Elm", "ADDRESS": "", "PHONE": "", "BIRTHDAY": "",
    }  # fmt: skip


def test_archiving_stamps_a_member_and_hides_it_by_default() -> None:
    """It is no longer in the default listing."""
    at = place()
    handle = at.members.add("a@example.com", at=NOW - 100)
    at.members.archive(handle)
    assert at.emails() == []
    (member,) = at.page(status="archived", since_last_changed="2023-11-14T22:13:19+00:00")["members"]
    assert (member["status"], member["last_changed"]) == ("archived", "2023-11-14T22:13:20+00:00")


def test_unarchiving_shows_a_member_again_and_stamps_it() -> None:
    at = place()
    handle = at.members.add("a@example.com", status="archived", at=NOW - 100)
    at.members.unarchive(handle)
    assert at.page(status="archived")["total_items"] == 0
    assert at.page()["members"][0]["last_changed"] == "2023-11-14T22:13:20+00:00"


def test_a_new_address_makes_a_new_id_and_keeps_the_contact_id() -> None:
    at = place()
    old = at.members.add("a@example.com")
    before = at.page()["members"][0]
    new = at.members.rename(old, "b@example.com")
    after = at.page()["members"][0]
    assert (
        (after["id"], after["email_address"]) == (new, "b@example.com") == (member_id("b@example.com"), "b@example.com")
    )
    assert after["contact_id"] == before["contact_id"]
    assert at.members.find(old) is None


def test_a_deleted_member_is_gone_without_a_trace() -> None:
    at = place()
    handle = at.members.add("a@example.com")
    at.members.delete(handle)
    assert (at.page()["total_items"], at.page(status="archived")["total_items"], len(at.members)) == (0, 0, 0)
    assert at.members.find("a@example.com") is None


def test_a_bulk_import_stamps_all_of_them_with_one_second() -> None:
    at = place()
    ids = [at.members.add(f"{n}@example.com", status="archived" if n % 2 else "subscribed", at=n) for n in range(10)]
    at.members.restamp(ids[:8], NOW - 5)
    assert at.page(since_last_changed="2023-11-14T22:13:14+00:00")["total_items"] == 4
    assert at.page(status="archived", since_last_changed="2023-11-14T22:13:14+00:00")["total_items"] == 4
    assert at.emails()[0] == "8@example.com"


def test_a_late_commit_appears_in_the_past() -> None:
    at = place()
    at.members.add("a@example.com", at=NOW - 10)
    at.members.add("late@example.com", at=NOW - 100)
    assert at.emails() == ["late@example.com", "a@example.com"]


def test_contacts_without_an_address_share_one_id() -> None:
    """It is the id of the empty address."""
    at = place()
    first, second = at.members.add(""), at.members.add("", oddities={"id": ABSENT})
    members = at.page(sort_field="last_changed")["members"]
    assert sorted(member.get("id", "none") for member in members) == ["d41d8cd98f00b204e9800998ecf8427e", "none"]
    assert first != second
    at.members.update(second, status="unsubscribed")
    at.members.delete(first)
    assert [member["status"] for member in at.page()["members"]] == ["unsubscribed"]


def test_two_members_cannot_share_one_address() -> None:
    at = place()
    at.members.add("a@example.com")
    other = at.members.add("b@example.com")
    with pytest.raises(ValueError, match="already has a member"):
        at.members.add("A@example.com")
    with pytest.raises(ValueError, match="already has a member"):
        at.members.rename(other, "a@example.com")
    assert at.page()["total_items"] == 2


def test_a_missing_member_cannot_change() -> None:
    with pytest.raises(KeyError):
        place().members.archive("d41d8cd98f00b204e9800998ecf8427e")


def test_a_list_filled_twice_from_one_seed_holds_the_same() -> None:
    lists = [place().members for _ in range(2)]
    for members in lists:
        members.fill(500, changed_between=(100, 200), seed=7, archived_share=0.2)
    rows = [[(one.id, one.email, one.status, one.merge_values, one.changed) for one in members] for members in lists]
    assert rows[0] == rows[1]
    assert {changed for *_, changed in rows[0]} <= set(range(100, 201))
    assert 50 < len([status for *_, status, _, _ in rows[0] if status == "archived"]) < 150


def test_a_filled_list_can_be_filled_again() -> None:
    at = place()
    at.members.fill(100, changed_between=(100, 200), seed=1)
    at.members.fill(100, changed_between=(150, 160), seed=1)
    assert len({member.id for member in at.members}) == len(at.members) == at.page()["total_items"] == 200
    assert len(at.emails()) == 200


def test_pages_of_a_long_list_are_full_wherever_they_are_cut() -> None:
    at = place()
    at.members.fill(100_000, changed_between=(100, 50_000), seed=1)
    for offset in range(0, 90_000, 3000):
        members, total = at.members.read(Selection(order="ascending", before=50_000, offset=offset, count=1000))
        assert (len(members), total) == (1000, 100_000)
