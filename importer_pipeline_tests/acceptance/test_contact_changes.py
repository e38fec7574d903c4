"""Hours as partitions: launched by hand; and the chain after what people do to them and to the clients file."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from importer_pipeline.listing.hours import HOUR_SECONDS, hour_key
from importer_pipeline_tests.support.newsletter import Newsletter, archived_changes, hours_of, newsletter_of_before
from importer_pipeline_tests.support.runs import Ran, new_instance

OTHER_LIST = "0123456789"
OTHER_MAPPING = {"firstname": "merge_fields.LNAME"}


@pytest.fixture
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    with new_instance(tmp_path_factory) as made:
        yield made


@pytest.fixture
def news(tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Iterator[Newsletter]:
    """Return one that was synced in full eight hours ago by Mailchimp's clock."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with newsletter_of_before(tmp_path, instance) as newsletter:
        assert newsletter.full_sync(page_size=1000).success
        newsletter.asked()
        yield newsletter


def synced_in_full(ran: Ran) -> bool:
    """Return whether a run took a snapshot and imported it."""
    return ran.success and ran.materialized == [Newsletter.CONTACTS]


def test_an_hour_by_hand_says_that_it_was_imported_by_itself(news: Newsletter) -> None:
    changed = news.change(0, 1)
    hour = hour_key(news.account.now())
    news.let_hours_pass(2)
    ran = news.import_hours(hour)
    assert (ran.success, hours_of(ran), news.missing) == (True, [hour], set()), changed
    numbers = ran.numbers(news.CHANGES, hour)
    assert (numbers["contacts_read"], numbers["contacts_accepted"]) == (2, 2)
    assert numbers["chain_from"] == "brought in by itself"


def test_a_range_of_hours_is_read_in_one_walk(news: Newsletter) -> None:
    """Hours in which nothing changed are imported with it."""
    news.let_hours_pass(6)
    ran = news.import_hours(news.hour(ago=4), news.hour())
    assert (ran.success, hours_of(ran)) == (True, [news.hour(ago=ago) for ago in (4, 3, 2, 1, 0)])
    assert len(news.asked()) == 2


def test_a_later_hour_by_hand_leaves_the_hole_to_the_next_run(news: Newsletter) -> None:
    changed = news.change(0)
    news.let_hours_pass(6)
    later = news.hour()
    assert news.import_hours(later).success
    assert news.missing == changed
    ran = news.incremental_sync()
    assert (ran.success, news.missing) == (True, set())
    assert later not in hours_of(ran)
    assert len(hours_of(ran)) >= 5


def test_hours_by_hand_that_leave_no_hole_need_not_be_read_again(news: Newsletter) -> None:
    news.let_hours_pass(6)
    first = hour_key(news.account.now() - 6 * HOUR_SECONDS - 60)
    assert news.import_hours(first, news.hour()).success
    news.asked()
    ran = news.incremental_sync()
    assert (ran.success, hours_of(ran)) == (True, [])
    assert len(news.asked()) <= 1


def test_an_old_hour_by_hand_changes_nothing(news: Newsletter) -> None:
    news.let_hours_pass(6)
    news.incremental_sync()
    assert news.import_hours(news.hour(ago=3)).success
    news.let_hours_pass(1)
    assert hours_of(news.incremental_sync()) == [news.hour()]


def test_a_failed_page_fails_only_the_hours_on_it(news: Newsletter) -> None:
    """Four hours have fifteen contacts each; pages hold thirty, and start every twenty."""
    for first in range(0, 60, 15):
        news.change(*range(first, first + 15))
        news.let_hours_pass(1)
    news.let_hours_pass(1)
    changed, first, last = news.missing, news.hour(ago=4), news.hour()
    news.fail(lambda request: "since_last_changed" in request.query and request.query["offset"] == "20")
    ran = news.import_hours(first, last, page_size=30)
    failed = {key.rpartition("/")[2] for key in news.quarantined}
    assert not ran.success
    assert failed
    assert set(hours_of(ran)) | failed == {news.hour(ago=ago) for ago in range(5)}
    assert {first, last} <= set(hours_of(ran))
    assert (f"hours {', '.join(sorted(failed))}: Mailchimp refuses the request (HTTP 400)") in ran.message
    assert set() < news.missing < changed
    news.fail()
    ran = news.redrive()
    assert (ran.success, set(hours_of(ran)), news.quarantined, news.missing) == (True, failed, {}, set())
    ran = news.incremental_sync()
    assert (ran.success, hours_of(ran)) == (True, [])


def test_hours_launched_with_a_refused_key_stay_missing(news: Newsletter) -> None:
    """They are left to the next run."""
    changed = news.change(0)
    news.let_hours_pass(3)
    with news.revoked():
        ran = news.import_hours(news.hour(ago=2), news.hour())
    assert not ran.success
    assert "- acme/newsletter (3 hours left): Mailchimp refuses the key" in ran.message
    assert (hours_of(ran), news.missing) == ([], changed)
    assert news.incremental_sync().success
    assert news.missing == set()


def test_hours_that_are_not_over_are_refused_with_a_remedy(news: Newsletter) -> None:
    ran = news.import_hours(hour_key(int(datetime.now(UTC).timestamp()) - HOUR_SECONDS))
    assert not ran.success
    assert "is not over by Mailchimp's clock: launch it again in a few minutes" in ran.message


def test_of_a_range_into_the_future_past_hours_are_imported(news: Newsletter) -> None:
    news.let_hours_pass(4)
    over, running = news.hour(), news.hour(ago=-1)
    ran = news.import_hours(over, running)
    assert (ran.success, hours_of(ran)) == (False, [over])
    assert f"the hour {running} is not over by Mailchimp's clock: launch it again in a few minutes" in ran.message


Happening = Callable[[Newsletter], object]


def report_by_hand(news: Newsletter) -> None:
    """Report in the UI that all is imported."""
    for asset, partition in ((news.CONTACTS, None), (news.CHANGES, news.hour())):
        key = dg.AssetKey.from_user_string(asset)
        news.instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=partition))


def wipe(asset: str) -> Happening:
    """Wipe an asset."""
    return lambda news: news.instance.wipe_assets([dg.AssetKey.from_user_string(asset)])


def prune(news: Newsletter) -> None:
    """Delete all runs but the newest, and their events with them."""
    for run in news.instance.get_runs()[1:]:
        news.instance.delete_run(run.run_id)


@pytest.mark.parametrize(
    "happens",
    [
        pytest.param(report_by_hand, id="report materialization"),
        pytest.param(wipe(Newsletter.CHANGES), id="hours wiped"),
        pytest.param(wipe(Newsletter.CONTACTS), id="contacts wiped"),
        pytest.param(wipe(Newsletter.WINDOWS), id="windows wiped"),
        pytest.param(prune, id="runs pruned"),
    ],
)
def test_the_chain_survives_deleted_events(news: Newsletter, happens: Happening) -> None:
    news.let_hours_pass(3)
    assert news.incremental_sync().success
    changed = news.change(0, 1)
    happens(news)
    news.let_hours_pass(2)
    ran = news.incremental_sync(newcomers=False)
    assert (ran.success, news.missing) == (True, set()), changed
    assert ran.materialized == []


def test_a_lost_chain_is_begun_again_by_a_full_sync(news: Newsletter) -> None:
    """No event of the chain is left; the run says why it takes a full sync."""
    news.let_hours_pass(3)
    news.incremental_sync()
    changed = news.change(0)
    news.instance.wipe_assets([dg.AssetKey.from_user_string(asset) for asset in (news.CONTACTS, news.CHANGES)])
    ran = news.incremental_sync()
    assert ran.said("acme/newsletter: a full sync comes last, because the event log has no successful full sync")
    assert synced_in_full(ran)
    news.let_hours_pass(2)
    assert news.incremental_sync().success
    assert news.missing == set(), changed


def edit(news: Newsletter, what: str) -> None:
    """Name another list, target or mapping in the clients file."""
    declared = news.stage.declared()
    if what == "list":
        declared["acme"]["audiences"]["newsletter"] = {"list_id": news.account.add_list(OTHER_LIST).list_id}
    elif what == "target":
        target = declared["acme"]["target"]
        target["url"] = target["url"].replace("127.0.0.1", "localhost")
    else:
        declared["acme"]["audiences"]["newsletter"]["record"] = OTHER_MAPPING
    news.clients = news.stage.load(declared)


@pytest.mark.parametrize("edited", ["list", "target", "mapping"])
def test_each_change_of_fingerprint_needs_a_full_sync(news: Newsletter, edited: str) -> None:
    """Changing it back needs one too."""
    news.let_hours_pass(2)
    news.incremental_sync()
    before = news.clients
    edit(news, edited)
    ran = news.incremental_sync()
    assert ran.said("acme/newsletter: a full sync comes last, because the last sync was of another list, target or")
    assert synced_in_full(ran)
    news.clients = before
    news.account.lists.pop(OTHER_LIST, None)
    assert synced_in_full(news.incremental_sync())
    assert news.missing == set()


def test_a_sync_begun_with_another_mapping_ends_the_chain_too(news: Newsletter) -> None:
    news.let_hours_pass(2)
    news.incremental_sync()
    before = news.clients
    edit(news, "mapping")
    news.fail(lambda request: "status" in request.query)
    assert not news.full_sync().success
    assert news.missing
    news.fail()
    news.clients = before
    assert synced_in_full(news.incremental_sync())
    assert news.missing == set()


def test_a_failed_hour_with_another_mapping_ends_the_chain(news: Newsletter) -> None:
    """The hour was launched by hand."""
    news.change(0, 1)
    news.let_hours_pass(2)
    news.incremental_sync()
    before = news.clients
    edit(news, "mapping")
    news.fail(archived_changes)
    assert not news.import_hours(news.hour(ago=2), news.hour()).success
    assert news.missing
    news.fail()
    news.clients = before
    assert news.incremental_sync().success
    assert news.missing == set()


def test_another_key_keeps_the_chain(news: Newsletter) -> None:
    news.let_hours_pass(2)
    (old,) = news.account.secrets
    new = f"{'0' * 32}-us1"
    news.account.secrets.add(new)
    news.account.secrets.discard(old)
    news.declare(mailchimp={"api_key": news.stage.secret("rotated", new)})
    changed = news.change(0)
    news.let_hours_pass(2)
    ran = news.incremental_sync(newcomers=False)
    assert (ran.success, ran.materialized, news.missing) == (True, [], set()), changed
