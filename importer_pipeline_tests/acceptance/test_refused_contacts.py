"""Contacts that the target refuses: shown in Dagster, and redriven."""

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import dagster as dg
import pytest

from importer_pipeline.defs.names import QUARANTINE_KEY
from importer_pipeline.sandbox.faults import at_offsets
from importer_pipeline_tests.support.newsletter import Newsletter, newsletter_of_before
from importer_pipeline_tests.support.runs import Ran
from importer_pipeline_tests.support.stage import key_of

WINDOW, ARCHIVED = "acme/newsletter/contact_windows/0", "acme/newsletter/contact_windows/archived-0"


@pytest.fixture
def news(tmp_path: Path, instance: dg.DagsterInstance) -> Iterator[Newsletter]:
    """Return one that is eight hours back, and was never synced."""
    with newsletter_of_before(tmp_path, instance) as newsletter:
        yield newsletter


def metadata_of(ran: Ran, partition: str) -> list[dict[str, object]]:
    """Return the metadata of a run's events of an entry, in order."""
    return [dict(line.numbers) for line in ran.log if line.asset == "quarantine" and line.partition == partition]


def rows(shown: object) -> list[dict[str, object]]:
    """Return the rows of a table."""
    assert isinstance(shown, dg.TableMetadataValue)
    return [dict(record.data) for record in shown.records]


def by_id(news: Newsletter) -> list[str]:
    """Return the ids requested one by one since the previous call, or the previous look at the requests."""
    paths = [request.path.rpartition("/") for request in news.asked()]
    return sorted(last for before, _, last in paths if before.endswith("/members"))


def test_refused_contacts_show_id_reason_attempts_and_times(news: Newsletter) -> None:
    bad = news.two
    news.refuse(*bad)
    began = int(time.time())
    ran = news.full_sync(page_size=1000)
    assert not ran.success
    assert set(news.quarantined) == {WINDOW}
    metadata = metadata_of(ran, WINDOW)[-1]
    assert (metadata["contacts"], metadata["attempts"]) == (2, 1)
    assert str(metadata["reason"]).startswith("the target refuses the batch (HTTP 422)")
    shown = rows(metadata["table"])
    assert {row["contact_id"] for row in shown} == set(bad)
    for row in shown:
        assert (row["reason"], row["attempts"]) == (metadata["reason"], 1)
        assert row["first_seen"] == row["last_seen"]
        assert began <= datetime.fromisoformat(str(row["first_seen"])).timestamp() <= time.time()


def test_materializing_an_entry_requests_its_contacts_by_id(news: Newsletter) -> None:
    bad = news.two
    news.refuse(*bad)
    news.full_sync(page_size=1000)
    news.refuse(bad[1])
    news.asked()
    ran = news.retry(WINDOW)
    assert not ran.success
    assert ran.message.startswith(f"Still in the quarantine: 1\n- {WINDOW}: the target refuses the batch (HTTP 422)")
    assert by_id(news) == sorted(bad)
    assert set(news.quarantined[WINDOW].contacts) == {bad[1]}
    failure = news.quarantined[WINDOW].contacts[bad[1]]
    assert (failure.attempts, failure.first_seen <= failure.last_seen) == (2, True)
    news.refuse()
    assert news.retry(WINDOW).success
    assert (news.quarantined, news.missing) == ({}, set())


def test_several_entries_are_materialized_in_one_run(news: Newsletter) -> None:
    archived = next(member.id for member in news.listed if member.status == "archived")
    news.refuse(*news.two, archived)
    news.full_sync(page_size=1000)
    news.refuse()
    first, last = news.instance.get_dynamic_partitions("quarantine")
    assert {first, last} == {WINDOW, ARCHIVED}
    assert news.retry(first, last).success
    assert (news.quarantined, news.missing) == ({}, set())


def test_the_hourly_run_retries_what_is_due_with_growing_pauses(news: Newsletter) -> None:
    bad = news.two
    news.refuse(*bad)
    news.full_sync(page_size=1000)
    news.asked()
    for seconds, asked_for, attempts in ((0, [], 1), (3600, sorted(bad), 2), (3600, [], 2), (3600, sorted(bad), 3)):
        news.let_quarantine_rest(seconds=seconds)
        ran = news.incremental_sync()
        assert (ran.success, by_id(news)) == (True, asked_for)
        assert [it.attempts for it in news.quarantined[WINDOW].contacts.values()] == [attempts, attempts]
    news.let_quarantine_rest(seconds=24 * 3600)
    assert news.incremental_sync(retries=3).success
    assert by_id(news) == []
    news.refuse()
    ran = news.incremental_sync(retries=4)
    assert (ran.success, news.quarantined, news.missing) == (True, {}, set())
    assert ran.said("2 contacts of the quarantine retried: 2 accepted, 0 refused")


def test_a_contact_that_is_gone_from_mailchimp_is_settled(news: Newsletter) -> None:
    bad = news.two
    news.refuse(*bad)
    news.full_sync(page_size=1000)
    for contact_id in bad:
        news.listed.delete(contact_id)
    assert news.redrive().success
    assert news.quarantined == {}


def test_a_list_that_is_not_found_keeps_its_contacts_quarantined(news: Newsletter) -> None:
    news.refuse(*news.two)
    news.full_sync(page_size=1000)
    listed = news.account.lists.pop(news.listed.list_id)
    assert not news.redrive().success
    assert set(news.quarantined) == {WINDOW}
    news.account.lists[listed.list_id] = listed
    news.refuse()
    assert news.redrive().success
    assert (news.quarantined, news.missing) == ({}, set())


def test_a_refused_contact_imported_by_a_later_hour_is_settled(news: Newsletter) -> None:
    bad = news.two
    news.refuse(*bad)
    news.full_sync(page_size=1000)
    news.refuse()
    for contact_id in bad:
        news.listed.update(contact_id, merge_fields={"FNAME": "Corrected"})
    news.let_hours_pass(2)
    assert news.incremental_sync(retries=0).success
    assert (news.quarantined, news.missing) == ({}, set())


def test_changed_contacts_are_quarantined_under_their_hour(news: Newsletter) -> None:
    news.full_sync(page_size=1000)
    bad = news.change(0)
    news.refuse(*bad)
    news.let_hours_pass(2)
    ran = news.incremental_sync()
    assert not ran.success
    ((key, entry),) = news.quarantined.items()
    assert key.rpartition("/")[0] == news.CHANGES
    assert entry.contact_ids == bad
    assert key.rpartition("/")[2] in ran.partitions(news.CHANGES)


def test_no_name_no_address_and_no_key_is_in_the_quarantine(news: Newsletter) -> None:
    bad = news.two
    news.refuse(*bad)
    news.fail(at_offsets(40))
    news.full_sync()
    news.fail()
    news.redrive()
    with news.revoked():
        news.import_windows("0", "archived-0")
        news.redrive()
    records = news.instance.fetch_materializations(QUARANTINE_KEY, limit=100).records
    written = "".join(dg.serialize_value(record.event_log_entry) for record in records)
    assert len(records) >= 4
    assert all(contact_id in written for contact_id in bad)
    acme = news.stage.clients["acme"]
    values = [value for member in news.listed for value in (member.email, *(member.merge_values or ()))]
    secrets = [key_of(acme), key_of(acme).partition("-")[0], acme.target.api_key]
    texts = [value for value in (*values, *secrets) if isinstance(value, str) and len(value) > 4]
    assert len(texts) > 60
    assert [text for text in texts if text in written] == []
