"""The comparison of a target with Mailchimp."""

from importer_pipeline.sandbox.compare import compare, default_record, record_by_list
from importer_pipeline.sandbox.protocols import TargetRecord
from importer_pipeline.sandbox.target import Manner, Refusal
from importer_pipeline_tests.sandbox.asking import LIST_ID, batch, place


def test_members_are_missing_stale_or_kept_or_records_surplus() -> None:
    at = place()
    kept, stale, missing, archived = (
        at.members.add(f"{name}@example.com", merge_fields={"FNAME": name}, status=status)
        for name, status in (
            ("kept", "subscribed"),
            ("stale", "subscribed"),
            ("missing", "cleaned"),
            ("gone", "archived"),
        )
    )
    at.target.records[kept] = TargetRecord(kept, "kept", "", "kept@example.com", "subscribed")
    at.target.records[stale] = TargetRecord(stale, "Stale", "", "stale@example.com", "subscribed")
    at.target.records["old"] = TargetRecord("old", "", "", "", "")
    at.target.refusals = (Refusal.of_ids({missing}, Manner.COUNT),)
    difference = compare(at.members, at.target)
    assert difference.missing == tuple(sorted((missing, archived)))
    assert (difference.stale, difference.surplus, difference.refused) == ((stale,), ("old",), (missing,))
    assert not difference.kept


def test_all_is_kept_when_every_member_is_at_the_target() -> None:
    at = place()
    at.members.fill(50, changed_between=(1, 2), seed=1, archived_share=0.5)
    at.target.records = {record.id: record for one in at.members if (record := default_record(one, at.members))}
    at.sandbox.answer(batch("former address"))
    difference = compare(at.members, at.target)
    assert (difference.kept, difference.surplus) == (True, ("former address",))


def test_members_without_an_address_are_not_expected() -> None:
    at = place()
    at.members.add("")
    assert compare(at.members, at.target).kept


def test_lists_that_share_a_target_are_separated_by_list_id() -> None:
    at = place()
    other = at.account.add_list("aaaaaaaaaa")
    ids = [members.add("a@example.com") for members in (at.members, other)]
    difference = compare([at.members, other], at.target, record_of=record_by_list)
    assert difference.missing == (f"{LIST_ID}-{ids[0]}", f"aaaaaaaaaa-{ids[1]}")
