"""What changed, hour by hour, through Dagster's own runs: where the chain goes on, and what ends it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from importer_pipeline.hours import HOUR_SECONDS, hour_key, last_second_over
from importer_pipeline.importing import account_identity
from importer_pipeline.locks import AccountLocks, default_folder
from importer_pipeline_tests.newsletter import Newsletter
from importer_pipeline_tests.runs import Ran, new_instance
from importer_pipeline_tests.stage import Stage

HOURS_BACK = 8
DAYS_BACK = 75


@pytest.fixture
def news(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Newsletter]:
    """One that has been synced in full, some hours ago by Mailchimp's clock."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    stage = Stage(tmp_path)
    stage.add("acme", contacts=60)
    with stage, new_instance(tmp_path_factory) as instance:
        newsletter = Newsletter(stage, instance)
        newsletter.go_back(hours=HOURS_BACK)
        assert newsletter.full_sync(page_size=1000).success
        newsletter.asked()
        yield newsletter


def hours_of(ran: Ran) -> list[str]:
    """The hours that a run brought in."""
    return ran.partitions(Newsletter.CHANGES)


def said(ran: Ran, text: str) -> bool:
    """Whether a line of the log holds a text."""
    return any(text in told.text for told in ran.told)


def synced_in_full(ran: Ran) -> bool:
    """Whether a run took a snapshot and brought it in."""
    return ran.success and ran.materialized == [Newsletter.CONTACTS]


def test_what_changed_in_an_hour_is_brought_in_when_it_is_over(news: Newsletter) -> None:
    changed = news.change(0, 1, 2)
    assert news.missing == changed
    news.let_hours_pass(2)
    ran = news.incremental_sync()
    assert (ran.success, news.missing) == (True, set())
    assert hours_of(ran)[-1] == news.hour()
    assert sum(ran.numbers(news.CHANGES, hour)["contacts_read"] for hour in hours_of(ran)) >= 3


def test_while_no_hour_is_over_one_page_is_asked_for_and_nothing_is_told(news: Newsletter) -> None:
    news.let_hours_pass(2)
    news.incremental_sync()
    news.account.clock_offset_seconds = 0  # Now the guess of its time is right.
    first = news.incremental_sync()
    assert len(hours_of(first)) >= HOURS_BACK - 2
    news.asked()
    again = news.incremental_sync()
    assert (again.success, hours_of(again), len(news.asked())) == (True, [], 1)


def test_three_days_are_as_many_requests_as_an_hour_and_each_hour_is_told(news: Newsletter) -> None:
    news.go_back(hours=DAYS_BACK)
    assert synced_in_full(news.full_sync(page_size=1000, restart=True))
    news.instance.wipe_assets([dg.AssetKey.from_user_string(news.CHANGES)])
    news.asked()
    news.account.clock_offset_seconds = 0
    ran = news.incremental_sync()
    assert ran.success
    assert len(hours_of(ran)) in (DAYS_BACK, DAYS_BACK + 1)
    assert hours_of(ran) == sorted(hours_of(ran))
    assert len(news.asked()) == 2


def test_an_hours_event_says_what_a_person_and_a_later_run_want_to_know(news: Newsletter) -> None:
    news.let_hours_pass(2)
    news.change(0, 1, seconds_ago=5400)
    news.let_hours_pass(1)
    ran = news.incremental_sync()
    hour = hour_key(news.account.now() - HOUR_SECONDS - 5400)
    numbers = ran.numbers(news.CHANGES, hour)
    assert (numbers["contacts_read"], numbers["contacts_accepted"], numbers["contacts_refused"]) == (2, 2, 0)
    assert 5400 + HOUR_SECONDS <= numbers["lag_seconds"] <= 5400 + HOUR_SECONDS + 60
    assert len(numbers["chain_from"]) == len(numbers["fingerprint"]) == 16


def test_an_archived_contact_is_a_change_too(news: Newsletter) -> None:
    contact_id = next(member.contact_id for member in news.listed if member.status != "archived")
    news.listed.archive(contact_id)
    news.let_hours_pass(2)
    assert news.incremental_sync().success
    member = news.listed.find(contact_id)
    assert member is not None
    assert news.target.records[member.id].status == "archived"


def test_who_is_committed_late_is_brought_by_the_next_run(news: Newsletter) -> None:
    news.let_hours_pass(2)
    news.incremental_sync()
    since_the_hour = news.account.now() - last_second_over(news.account.now())
    late = news.change(
        0, seconds_ago=since_the_hour + 240
    )  # Stamped four minutes before the end of an hour that is in.
    news.let_hours_pass(1)
    assert news.missing == late
    assert news.incremental_sync().success
    assert news.missing == set()


@pytest.mark.parametrize("off_by", [-600, 600], ids=["slow", "fast"])
def test_a_clock_that_is_off_by_ten_minutes_costs_nothing_but_a_request(news: Newsletter, off_by: int) -> None:
    news.account.clock_offset_seconds = -2 * HOUR_SECONDS + off_by
    news.change(0, 1)
    news.account.clock_offset_seconds = off_by
    ran = news.incremental_sync()
    assert (ran.success, news.missing) == (True, set())
    assert hours_of(ran)[-1] == news.hour()
    assert len(news.asked()) <= 3


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


def test_hours_that_are_not_over_are_refused_with_a_remedy(news: Newsletter) -> None:
    ran = news.import_hours(hour_key(int(datetime.now(UTC).timestamp()) - HOUR_SECONDS))
    assert not ran.success
    assert "is not over by Mailchimp's clock: launch it again in some minutes" in ran.message


Happening = Callable[[Newsletter], object]


def report_by_hand(news: Newsletter) -> None:
    """Somebody says in the UI that all is in."""
    for asset, partition in ((news.CONTACTS, None), (news.CHANGES, news.hour())):
        key = dg.AssetKey.from_user_string(asset)
        news.instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=partition))


def wipe(asset: str) -> Happening:
    """Somebody wipes an asset."""
    return lambda news: news.instance.wipe_assets([dg.AssetKey.from_user_string(asset)])


def prune(news: Newsletter) -> None:
    """All runs but the newest are deleted, and their events with them."""
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
def test_the_chain_outlives_what_people_do_to_its_events(news: Newsletter, happens: Happening) -> None:
    news.let_hours_pass(3)
    assert news.incremental_sync().success
    changed = news.change(0, 1)
    happens(news)
    news.let_hours_pass(2)
    ran = news.incremental_sync(newcomers=False)
    assert (ran.success, news.missing) == (True, set()), changed
    assert ran.materialized == []


@pytest.mark.parametrize("edited", ["mapping", "list"])
def test_what_is_another_chain_now_gets_a_full_sync_and_the_run_says_why(news: Newsletter, edited: str) -> None:
    news.let_hours_pass(2)
    news.incremental_sync()
    if edited == "mapping":
        news.declare(record={"firstname": "merge_fields.LNAME"})
    else:
        declared = news.stage.declared()
        declared["acme"]["audiences"]["newsletter"] = {"list_id": news.account.add_list("another").list_id}
        news.clients = news.stage.load(declared)
    ran = news.incremental_sync()
    assert said(ran, "acme/newsletter: a full sync of it comes last, since what was synced is another list, target or")
    assert synced_in_full(ran)


def test_going_back_to_the_mapping_before_begins_anew_too(news: Newsletter) -> None:
    news.let_hours_pass(2)
    news.incremental_sync()
    before = news.clients
    news.declare(record={"firstname": "merge_fields.LNAME"})
    assert synced_in_full(news.incremental_sync())
    news.clients = before
    ran = news.incremental_sync()
    assert synced_in_full(ran)
    assert news.missing == set()


def test_a_full_sync_during_the_day_is_gone_on_from(news: Newsletter) -> None:
    news.let_hours_pass(3)
    news.incremental_sync()
    news.let_hours_pass(2)
    assert synced_in_full(news.full_sync(page_size=1000))
    news.let_hours_pass(1)
    ran = news.incremental_sync()
    assert ran.success
    assert len(hours_of(ran)) <= 2
    assert hours_of(ran)[-1] == news.hour()


def test_without_newcomers_an_audience_without_a_chain_is_left_and_named(news: Newsletter) -> None:
    news.instance.wipe_assets([dg.AssetKey.from_user_string(asset) for asset in (news.CONTACTS, news.CHANGES)])
    ran = news.incremental_sync(newcomers=False)
    assert (ran.success, hours_of(ran), ran.materialized) == (True, [], [])
    assert said(ran, "acme/newsletter: it is left to full_sync, since nothing in the event log says")
    assert news.asked() == []


def test_a_client_that_was_gone_for_a_while_goes_on_where_it_was(tmp_path: Path, news: Newsletter) -> None:
    news.let_hours_pass(2)
    news.incremental_sync()
    news.change(0)
    with_acme = news.clients
    news.stage.add("globex", contacts=20)
    news.clients = news.stage.load({"globex": news.stage.declared()["globex"]})
    news.let_hours_pass(2)
    assert synced_only(news.incremental_sync(), "globex/newsletter/contacts")
    news.clients = with_acme
    news.let_hours_pass(1)
    ran = news.incremental_sync()
    assert (ran.success, news.missing, ran.materialized) == (True, set(), [])
    assert len(hours_of(ran)) >= 3


def synced_only(ran: Ran, *assets: str) -> bool:
    """Whether those are all that a run brought in as a whole."""
    return ran.success and ran.materialized == list(assets)


def test_an_account_that_another_run_has_is_left_to_the_next(news: Newsletter) -> None:
    news.let_hours_pass(2)
    locks = AccountLocks(default_folder())
    assert locks.take({account_identity(client) for client in news.clients.clients})
    ran = news.incremental_sync()
    assert (ran.success, hours_of(ran), news.asked()) == (True, [], [])
    assert said(ran, "left to a later run: acme")
    locks.release_all()
    assert hours_of(news.incremental_sync())[-1] == news.hour()


def test_a_revoked_key_costs_one_request_and_nothing_turns_red(news: Newsletter) -> None:
    news.let_hours_pass(5)
    (key,) = news.account.secrets
    news.account.secrets.clear()
    ran = news.incremental_sync()
    assert not ran.success
    assert "- acme/newsletter" in ran.message
    assert "Mailchimp refuses the key" in ran.message
    assert len(news.asked()) == 1
    assert news.quarantined == {}
    news.account.secrets.add(key)
    ran = news.incremental_sync()
    assert (ran.success, hours_of(ran)[-1]) == (True, news.hour())
