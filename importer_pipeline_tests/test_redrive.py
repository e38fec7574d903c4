"""What could not be imported, in Dagster: how it comes into the quarantine, what is shown of it, and how it comes back."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from importer_pipeline.defs.quarantine_events import read_entries, write_entries
from importer_pipeline.defs.reckoning import Audiences, reckon
from importer_pipeline.outcomes import Part, Piece
from importer_pipeline.quarantine import Entry, Quarantine, Trouble
from importer_pipeline.sandbox.faults import Fault, Rule, Unkindness, at_offsets
from importer_pipeline.sandbox.messages import SandboxRequest
from importer_pipeline.sandbox.target import Manner, Refusal
from importer_pipeline.snapshots import AudienceName
from importer_pipeline_tests.newsletter import Newsletter
from importer_pipeline_tests.runs import Ran, materialize, new_instance
from importer_pipeline_tests.stage import Stage, in_order

QUARANTINE = dg.AssetKey("quarantine")
WINDOW, ARCHIVED = "acme/newsletter/contact_windows/0", "acme/newsletter/contact_windows/archived-0"


@pytest.fixture
def news(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newsletter]:
    """One that is eight hours back, and was never synced."""
    stage = Stage(tmp_path)
    stage.add("acme", contacts=60)
    with stage, new_instance(tmp_path_factory) as instance:
        newsletter = Newsletter(stage, instance)
        newsletter.go_back(hours=8)
        yield newsletter


def refuse(news: Newsletter, *ids: str) -> None:
    """The target refuses these from now on, and no others."""
    news.target.refusals = (Refusal.of_ids(set(ids), Manner.REJECT),) if ids else ()


def two_of(news: Newsletter) -> list[str]:
    """Ids of the two contacts that have stood still for longest."""
    return [member.id for member in in_order(news.listed)[:2]]


def materialized(news: Newsletter, *partitions: str) -> Ran:
    """Partitions of the quarantine are materialized by hand."""
    return materialize(news.clients, [QUARANTINE], instance=news.instance, partitions=partitions)


def told_of(ran: Ran, partition: str) -> list[dict[str, object]]:
    """The metadata of what a run said of an entry, in order."""
    return [dict(told.numbers) for told in ran.told if told.asset == "quarantine" and told.partition == partition]


def rows(shown: object) -> list[dict[str, object]]:
    """The rows of a table."""
    assert isinstance(shown, dg.TableMetadataValue)
    return [dict(record.data) for record in shown.records]


def test_refused_contacts_are_shown_with_id_reason_and_attempts(news: Newsletter) -> None:
    bad = two_of(news)
    refuse(news, *bad)
    ran = news.full_sync(page_size=1000)
    assert not ran.success
    assert set(news.quarantined) == {WINDOW}
    told = told_of(ran, WINDOW)[-1]
    assert (told["contacts"], told["attempts"]) == (2, 1)
    assert str(told["reason"]).startswith("the target refuses the batch (HTTP 422)")
    shown = rows(told["table"])
    assert {row["contact_id"] for row in shown} == set(bad)
    assert {"contact_id", "reason", "attempts", "first_seen", "last_seen"} == set(shown[0])


def test_no_more_than_a_hundred_rows_are_shown_and_all_are_kept(news: Newsletter) -> None:
    trouble = Trouble(reason="bad", snapshot="", attempts=1, first_seen=1, last_seen=2)
    piece = Piece(name=AudienceName("acme", "newsletter"), part=Part.HOUR, key="2026-11-24-07:00")
    entry = Entry(piece=piece, fingerprint="f", contacts={f"{number:032x}": trouble for number in range(150)})
    write_entries(news.instance, news.instance.report_runless_asset_event, Quarantine([entry], began=0.0), [piece])
    assert read_entries(news.instance) == [entry]
    event = news.instance.get_latest_materialization_event(QUARANTINE)
    assert event is not None
    assert event.asset_materialization is not None
    table = event.asset_materialization.metadata["table"]
    assert isinstance(table, dg.TableMetadataValue)
    assert len(table.records) == 100
    assert event.asset_materialization.metadata["contacts"].value == 150


def test_materializing_an_entry_asks_for_its_contacts_by_their_ids(news: Newsletter) -> None:
    bad = two_of(news)
    refuse(news, *bad)
    news.full_sync(page_size=1000)
    refuse(news, bad[1])
    news.asked()
    ran = materialized(news, WINDOW)
    assert not ran.success
    assert ran.message.startswith(f"Still in the quarantine: 1\n- {WINDOW}: the target refuses the batch (HTTP 422)")
    assert sorted(request.path.rpartition("/")[2] for request in news.asked()) == sorted(bad)
    assert set(news.quarantined[WINDOW].contacts) == {bad[1]}
    assert news.quarantined[WINDOW].contacts[bad[1]].attempts == 2
    refuse(news)
    assert materialized(news, WINDOW).success
    assert (news.quarantined, news.missing) == ({}, set())


def test_a_contact_that_is_gone_from_mailchimp_leaves(news: Newsletter) -> None:
    bad = two_of(news)
    refuse(news, *bad)
    news.full_sync(page_size=1000)
    for contact_id in bad:
        news.listed.delete(contact_id)
    assert news.redrive().success
    assert news.quarantined == {}


def test_a_list_that_is_not_found_is_no_reason_to_let_contacts_go(news: Newsletter) -> None:
    refuse(news, *two_of(news))
    news.full_sync(page_size=1000)
    listed = news.account.lists.pop(news.listed.list_id)
    assert not news.redrive().success
    assert set(news.quarantined) == {WINDOW}
    news.account.lists[listed.list_id] = listed
    refuse(news)
    assert news.redrive().success
    assert (news.quarantined, news.missing) == ({}, set())


def fail(news: Newsletter, rule: Rule | None = None) -> None:
    """Mailchimp fails where the rule says, and nowhere without."""
    news.account.unkindness = Unkindness(rules=(rule,) if rule else ())


def test_a_failed_window_is_red_comes_to_the_quarantine_and_back(news: Newsletter) -> None:
    fail(news, Rule(applies=at_offsets(40), fault=Fault.ERROR_500))
    assert not news.full_sync().success
    key = "acme/newsletter/contact_windows/40"
    assert (set(news.quarantined), news.shown.red) == ({key}, {"40"})
    assert "(HTTP 500)" in next(iter(news.quarantined[key].failures.values())).reason
    fail(news)
    ran = news.redrive()
    assert (ran.success, ran.materialized) == (True, [news.CONTACTS])
    assert (news.quarantined, news.missing, news.shown.red) == ({}, set(), set())


def test_what_changes_goes_on_though_a_window_is_in_the_quarantine(news: Newsletter) -> None:
    fail(news, Rule(applies=at_offsets(40), fault=Fault.ERROR_500))
    news.full_sync()
    fail(news)
    news.change(0)
    news.let_hours_pass(2)
    ran = news.incremental_sync(newcomers=False, retries=0)
    assert ran.success
    assert ran.partitions(news.CHANGES)[-1] == news.hour()
    assert set(news.quarantined) == {"acme/newsletter/contact_windows/40"}


def changes_of(news: Newsletter) -> Rule:
    """Fails whatever is asked for of what changed, in the archived contacts."""

    def applies(request: SandboxRequest) -> bool:
        return "since_last_changed" in request.query and "status" in request.query

    return Rule(applies=applies, fault=Fault.ERROR_500)


def test_a_failed_hour_comes_to_the_quarantine_and_back_by_its_time(news: Newsletter) -> None:
    news.full_sync(page_size=1000)
    changed = {two_of(news)[0]}
    for contact_id in changed:
        news.listed.archive(contact_id)
    news.let_hours_pass(2)
    fail(news, changes_of(news))
    assert not news.incremental_sync().success
    assert {key.rpartition("/")[0] for key in news.quarantined} == {news.CHANGES}
    fail(news)
    assert news.missing == changed
    assert news.redrive().success
    assert (news.quarantined, news.missing) == ({}, set())
    news.let_hours_pass(1)
    assert news.incremental_sync().success


def test_a_refused_contact_that_goes_in_by_a_later_hour_leaves(news: Newsletter) -> None:
    bad = two_of(news)
    refuse(news, *bad)
    news.full_sync(page_size=1000)
    refuse(news)
    for contact_id in bad:
        news.listed.update(contact_id, merge_fields={"FNAME": "Corrected"})
    news.let_hours_pass(2)
    assert news.incremental_sync(retries=0).success
    assert (news.quarantined, news.missing) == ({}, set())


def test_contacts_that_changed_are_quarantined_under_the_hour_in_which_they_did(news: Newsletter) -> None:
    news.full_sync(page_size=1000)
    bad = news.change(0)
    refuse(news, *bad)
    news.let_hours_pass(2)
    ran = news.incremental_sync()
    assert not ran.success
    ((key, entry),) = news.quarantined.items()
    assert key.rpartition("/")[0] == news.CHANGES
    assert entry.contact_ids == bad
    assert key.rpartition("/")[2] in ran.partitions(news.CHANGES)


def test_a_list_of_partitions_is_tried_and_no_other(news: Newsletter) -> None:
    archived = next(member.id for member in news.listed if member.status == "archived")
    refuse(news, *two_of(news), archived)
    news.full_sync(page_size=1000)
    refuse(news)
    assert news.redrive(partitions=[ARCHIVED]).success
    assert set(news.quarantined) == {WINDOW}


def test_a_partition_that_can_not_be_is_named(news: Newsletter) -> None:
    ran = news.redrive(partitions=["acme/newsletter/0"])
    assert not ran.success
    assert ran.message.startswith("no partition of the quarantine is called acme/newsletter/0: write them like client/")


def test_what_is_forgotten_does_not_come_back_with_the_run_that_failed(news: Newsletter) -> None:
    fail(news, Rule(applies=at_offsets(40), fault=Fault.ERROR_500))
    news.full_sync()
    assert news.redrive(forget=True).success
    assert news.quarantined == {}
    news.redrive()
    assert news.quarantined == {}


def test_entries_of_a_client_that_is_gone_are_named_and_can_be_forgotten(news: Newsletter) -> None:
    refuse(news, *two_of(news))
    news.full_sync(page_size=1000)
    news.stage.add("globex", contacts=20)
    news.clients = news.stage.load({"globex": news.stage.declared()["globex"]})
    ran = news.redrive()
    assert any("not in the clients file, so not tried: acme/newsletter" in told.text for told in ran.told)
    assert set(news.quarantined) == {WINDOW}
    assert news.redrive(forget=True).success
    assert news.quarantined == {}


def test_a_full_sync_that_brings_all_in_empties_the_quarantine(news: Newsletter) -> None:
    refuse(news, *two_of(news))
    fail(news, Rule(applies=at_offsets(40), fault=Fault.ERROR_500))
    news.full_sync()
    assert len(news.quarantined) >= 2
    refuse(news)
    fail(news)
    assert news.full_sync(restart=True).success
    assert news.quarantined == {}


def test_what_a_run_by_hand_left_is_found_by_its_events_once(news: Newsletter) -> None:
    news.plan_windows()
    (key,) = news.account.secrets
    news.account.secrets.clear()
    ran = news.import_windows("0", "archived-0")
    assert not ran.success
    assert news.quarantined == {}
    run = news.instance.get_run_by_id(ran.run_id)
    assert run is not None
    found = reckon(news.instance, run, Audiences(news.clients))
    assert {str(piece) for piece in found} == {
        f"acme/newsletter/contact_windows/{key}" for key in ("0", "40", "archived-0")
    }
    assert reckon(news.instance, run, Audiences(news.clients)) == []
    assert "Mailchimp refuses the key" in next(iter(news.quarantined[WINDOW].failures.values())).reason
    news.account.secrets.add(key)
    assert news.redrive().success
    assert news.quarantined == {}
    assert reckon(news.instance, run, Audiences(news.clients)) == []


def test_what_has_come_in_since_is_left_alone_and_so_is_what_will_be_tried_again(news: Newsletter) -> None:
    news.plan_windows()
    (key,) = news.account.secrets
    news.account.secrets.clear()
    ran = news.import_windows("0", "archived-0")
    news.account.secrets.add(key)
    run = news.instance.get_run_by_id(ran.run_id)
    assert run is not None
    news.instance.add_run_tags(run.run_id, {"dagster/will_retry": "true"})
    tagged = news.instance.get_run_by_id(ran.run_id)
    assert tagged is not None
    assert reckon(news.instance, tagged, Audiences(news.clients)) == []
    assert news.import_windows("0", "40").success
    found = reckon(news.instance, run, Audiences(news.clients))
    assert {str(piece) for piece in found} == {"acme/newsletter/contact_windows/archived-0"}


def test_what_a_step_has_told_of_its_failures_is_not_told_anew(news: Newsletter) -> None:
    fail(news, Rule(applies=at_offsets(40), fault=Fault.ERROR_500))
    ran = news.full_sync()
    before = news.quarantined
    run = news.instance.get_run_by_id(ran.run_id)
    assert run is not None
    assert reckon(news.instance, run, Audiences(news.clients)) == []
    assert news.quarantined == before


def test_a_window_that_fails_later_keeps_its_refused_contacts_in_the_quarantine(news: Newsletter) -> None:
    bad = set(two_of(news))
    refuse(news, *bad)
    news.full_sync(page_size=1000)
    news.account.secrets.clear()
    ran = news.import_windows("0")
    run = news.instance.get_run_by_id(ran.run_id)
    assert run is not None
    assert [str(piece) for piece in reckon(news.instance, run, Audiences(news.clients))] == [WINDOW]
    assert set(news.quarantined[WINDOW].contacts) == bad
    assert len(news.quarantined[WINDOW].failures) == 1


def test_a_redrive_finds_what_failed_runs_left_by_itself(news: Newsletter) -> None:
    news.plan_windows()
    (key,) = news.account.secrets
    news.account.secrets.clear()
    news.import_windows("0", "archived-0")
    news.account.secrets.add(key)
    ran = news.redrive()
    assert ran.success
    assert any(f"a failed run left {WINDOW}" in told.text for told in ran.told)
    assert {"0", "40", "archived-0"} <= news.shown.green


def test_no_name_and_no_address_is_in_the_quarantine(news: Newsletter) -> None:
    refuse(news, *two_of(news))
    news.full_sync(page_size=1000)
    records = news.instance.fetch_materializations(QUARANTINE, limit=100).records
    written = "".join(dg.serialize_value(record.event_log_entry) for record in records)
    assert records
    for contact_id in two_of(news):
        member = news.listed.find(contact_id)
        assert member is not None
        assert member.email not in written
        assert not [
            value
            for value in member.merge_values or ()
            if isinstance(value, str) and len(value) > 3 and value in written
        ]
