"""Failed windows and hours: quarantined, and redriven."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from importer_pipeline.defs.names import QUARANTINE_KEY
from importer_pipeline.sandbox.faults import at_offsets
from importer_pipeline_tests.support.newsletter import Newsletter, archived_changes, newsletter_of_before

WINDOW, ARCHIVED = "acme/newsletter/contact_windows/0", "acme/newsletter/contact_windows/archived-0"


@pytest.fixture
def news(tmp_path: Path, instance: dg.DagsterInstance) -> Iterator[Newsletter]:
    """Return one that is eight hours back, and was never synced."""
    with newsletter_of_before(tmp_path, instance) as newsletter:
        yield newsletter


def test_a_failed_window_is_red_quarantined_and_redriven(news: Newsletter) -> None:
    news.fail(at_offsets(40))
    assert not news.full_sync().success
    key = "acme/newsletter/contact_windows/40"
    assert (set(news.quarantined), news.shown.red) == ({key}, {"40"})
    assert "(HTTP 400)" in next(iter(news.quarantined[key].failures.values())).reason
    news.fail()
    ran = news.redrive()
    assert (ran.success, ran.materialized) == (True, [news.CONTACTS])
    assert (news.quarantined, news.missing, news.shown.red) == ({}, set(), set())


def test_changes_are_imported_beside_a_quarantined_window(news: Newsletter) -> None:
    news.fail(at_offsets(40))
    news.full_sync()
    news.fail()
    news.change(0)
    news.let_hours_pass(2)
    ran = news.incremental_sync(newcomers=False, retries=0)
    assert ran.success
    assert ran.partitions(news.CHANGES)[-1] == news.hour()
    assert set(news.quarantined) == {"acme/newsletter/contact_windows/40"}


def test_the_hourly_run_redrives_a_failed_window(news: Newsletter) -> None:
    """The snapshot is complete with it."""
    news.fail(at_offsets(40))
    news.full_sync()
    news.fail()
    news.let_quarantine_rest(seconds=3600)
    ran = news.incremental_sync(newcomers=False)
    assert (ran.success, ran.materialized) == (True, [news.CONTACTS])
    assert (news.quarantined, news.missing) == ({}, set())


def test_a_failed_hour_is_quarantined_and_redriven_by_its_time(news: Newsletter) -> None:
    news.full_sync(page_size=1000)
    changed = {news.two[0]}
    for contact_id in changed:
        news.listed.archive(contact_id)
    news.let_hours_pass(2)
    news.fail(archived_changes)
    assert not news.incremental_sync().success
    assert {key.rpartition("/")[0] for key in news.quarantined} == {news.CHANGES}
    news.fail()
    assert news.missing == changed
    assert news.redrive().success
    assert (news.quarantined, news.missing) == ({}, set())
    news.let_hours_pass(1)
    assert news.incremental_sync().success


def test_only_the_listed_partitions_are_redriven(news: Newsletter) -> None:
    archived = next(member.id for member in news.listed if member.status == "archived")
    news.refuse(*news.two, archived)
    news.full_sync(page_size=1000)
    news.refuse()
    assert news.redrive(partitions=[ARCHIVED]).success
    assert set(news.quarantined) == {WINDOW}


def test_an_impossible_partition_is_named(news: Newsletter) -> None:
    ran = news.redrive(partitions=["acme/newsletter/0"])
    assert not ran.success
    assert ran.message.startswith("no partition of the quarantine is called acme/newsletter/0: write them like client/")


def test_a_forgotten_entry_does_not_return_with_its_failed_run(news: Newsletter) -> None:
    news.fail(at_offsets(40))
    news.full_sync()
    assert news.redrive(forget=True).success
    assert news.quarantined == {}
    news.redrive()
    assert news.quarantined == {}


def test_a_redrive_counts_what_is_in_the_quarantine(news: Newsletter) -> None:
    news.refuse(*news.two)
    news.full_sync(page_size=1000)
    news.refuse()
    counted = [line.text for line in news.redrive().log if line.text.startswith("out of the quarantine")]
    assert counted == ["out of the quarantine: 1"]


def test_what_another_sync_may_be_writing_is_not_dropped(news: Newsletter) -> None:
    news.refuse(*news.two)
    news.full_sync(page_size=1000)
    before = news.quarantined
    with news.busy():
        ran = news.redrive(forget=True)
    assert (ran.success, news.quarantined) == (False, before)
    assert ran.message == (
        "not dropped from the quarantine: 1, since another sync has the Mailchimp accounts of acme. "
        "Remedy: run it again when that is over"
    )
    assert news.redrive(forget=True).success
    assert news.quarantined == {}


def test_entries_of_a_removed_client_are_named_and_forgettable(news: Newsletter) -> None:
    """The log names them, and they can be forgotten."""
    news.refuse(*news.two)
    news.full_sync(page_size=1000)
    news.stage.add("globex", contacts=20)
    news.clients = news.stage.load({"globex": news.stage.declared()["globex"]})
    ran = news.redrive()
    assert ran.said("not in the clients file, so not tried: acme/newsletter")
    counted = [line.text for line in ran.log if line.text.startswith("out of the quarantine")]
    assert counted == ["out of the quarantine: 0; not tried: 1, whose audiences are not in the clients file"]
    assert set(news.quarantined) == {WINDOW}
    assert news.redrive(forget=True).success
    assert news.quarantined == {}


def test_a_full_sync_that_imports_all_empties_the_quarantine(news: Newsletter) -> None:
    news.refuse(*news.two)
    news.fail(at_offsets(40))
    news.full_sync()
    assert len(news.quarantined) >= 2
    news.refuse()
    news.fail()
    assert news.full_sync(restart=True).success
    assert news.quarantined == {}


def test_an_entry_whose_events_are_wiped_is_imported_again(news: Newsletter) -> None:
    """All of its window or hour is."""
    news.refuse(*news.two)
    news.full_sync(page_size=1000)
    news.instance.wipe_assets([QUARANTINE_KEY])
    (failure,) = news.quarantined[WINDOW].failures.values()
    assert failure.reason.startswith("what was known of it is gone from the event log: materialize this partition")
    news.refuse()
    assert news.retry(WINDOW).success
    assert (news.quarantined, news.missing) == ({}, set())


def test_what_is_in_the_quarantine_is_red(news: Newsletter) -> None:
    """Whatever becomes of the runs that retry it: they fail, or succeed without it."""
    news.refuse(*news.two)
    assert not news.full_sync(page_size=1000).success
    assert (news.quarantine_shown.red, news.quarantine_shown.green) == ({WINDOW}, set())
    news.let_quarantine_rest(seconds=7 * 86_400)
    ran = news.incremental_sync()
    assert (ran.success, news.quarantine_shown.red) == (True, {WINDOW})
    assert not news.retry(WINDOW).success
    assert news.quarantine_shown.red == {WINDOW}
    news.stage.add("globex", contacts=20)
    news.clients = news.stage.load({"globex": news.stage.declared()["globex"]})
    assert news.retry(WINDOW).said("not in the clients file, so not tried: acme/newsletter")
    assert (news.quarantine_shown.red, news.quarantine_shown.green) == ({WINDOW}, set())
