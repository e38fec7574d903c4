"""Changes, hour by hour, through Dagster's own runs: imported, requested, and left to the next run."""

import logging
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from importer_pipeline.defs.locking import account_locks
from importer_pipeline.listing.hours import HOUR_SECONDS, hour_key, last_second_over
from importer_pipeline.runner.importing import account_identity
from importer_pipeline.sandbox.faults import Fault, FaultPlan
from importer_pipeline.sandbox.messages import SandboxRequest
from importer_pipeline.sandbox.world import SandboxClient
from importer_pipeline_tests.support.newsletter import Newsletter, hours_of, newsletter_of_before
from importer_pipeline_tests.support.postgres import Postgres
from importer_pipeline_tests.support.runs import Ran

HOURS_BACK = 8
DAYS_BACK = 75
THREE = ("newsletter", "customers", "events")


@pytest.fixture
def news(tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Iterator[Newsletter]:
    """Return one that was synced in full, some hours ago by Mailchimp's clock."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with newsletter_of_before(tmp_path, instance, hours=HOURS_BACK) as newsletter:
        assert newsletter.full_sync(page_size=1000).success
        newsletter.asked()
        yield newsletter


@pytest.fixture
def three(tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Iterator[Newsletter]:
    """Return one of three audiences of a client, all synced in full by the end of the hour before."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with newsletter_of_before(tmp_path, instance, hours=2, audiences=3) as newsletter:
        assert newsletter.full_sync(page_size=1000).success
        newsletter.account.clock_offset_seconds = 0
        assert newsletter.incremental_sync().success
        wipe_newest_hours(newsletter)
        newsletter.asked()
        yield newsletter


def wipe_newest_hours(news: Newsletter) -> None:
    """Wipe the hours since the snapshots, so that they are missing again."""
    news.instance.wipe_assets([dg.AssetKey(["acme", audience, "contact_changes"]) for audience in THREE])


def neighbour(news: Newsletter, *, contacts: int = 20) -> SandboxClient:
    """Add another client, with an account of its own and the same clock, that was never synced."""
    globex = news.stage.add("globex", contacts=contacts)
    globex.account.clock_offset_seconds = news.account.clock_offset_seconds
    (listed,) = globex.lists
    listed.restamp([member.contact_id for member in listed], news.account.now() - 2 * HOUR_SECONDS)
    news.clients = news.stage.load()
    return globex


def synced_only(ran: Ran, *assets: str) -> bool:
    """Return whether a run imported exactly those as a whole."""
    return ran.success and ran.materialized == list(assets)


def test_changes_of_an_hour_are_imported_once_it_is_over(news: Newsletter) -> None:
    changed = news.change(0, 1, 2)
    assert news.missing == changed
    news.let_hours_pass(2)
    ran = news.incremental_sync()
    assert (ran.success, news.missing) == (True, set())
    assert hours_of(ran)[-1] == news.hour()
    assert sum(ran.numbers(news.CHANGES, hour)["contacts_read"] for hour in hours_of(ran)) >= 3


def test_a_calm_hour_is_two_requests_for_each_audience(three: Newsletter) -> None:
    ran = three.incremental_sync()
    assert ran.success
    assert all(hours_of(ran, f"acme/{audience}/contact_changes") for audience in THREE)
    asked = [request.path.split("/")[-2] for request in three.asked()]
    assert {list_id: asked.count(list_id) for list_id in three.account.lists} == dict.fromkeys(three.account.lists, 2)
    assert len(asked) == 6
    assert not [line.text for line in ran.log if line.level > logging.DEBUG and ": 0 contacts read" in line.text]


def test_before_an_hour_is_over_one_page_is_requested(news: Newsletter) -> None:
    """Nothing is reported."""
    news.let_hours_pass(2)
    news.incremental_sync()
    news.account.clock_offset_seconds = 0  # Now the guess of its time is right.
    first = news.incremental_sync()
    assert len(hours_of(first)) >= HOURS_BACK - 2
    news.asked()
    again = news.incremental_sync()
    assert (again.success, hours_of(again), len(news.asked())) == (True, [], 1)
    assert again.said("no hour was over since the last sync; the next one can be imported from ")


def test_three_days_take_as_many_requests_as_an_hour(news: Newsletter) -> None:
    """Each hour is reported."""
    news.go_back(hours=DAYS_BACK)
    assert synced_only(news.full_sync(page_size=1000, restart=True), news.CONTACTS)
    news.instance.wipe_assets([dg.AssetKey.from_user_string(news.CHANGES)])
    news.asked()
    news.account.clock_offset_seconds = 0
    ran = news.incremental_sync()
    assert ran.success
    assert len(hours_of(ran)) in range(DAYS_BACK, DAYS_BACK + 3)
    assert hours_of(ran) == sorted(hours_of(ran))
    assert len(news.asked()) == 2


def test_the_event_of_an_hour_has_what_people_and_runs_need(news: Newsletter) -> None:
    news.let_hours_pass(2)
    news.change(0, 1, seconds_ago=5400)
    news.let_hours_pass(1)
    ran = news.incremental_sync()
    hour = hour_key(news.account.now() - HOUR_SECONDS - 5400)
    numbers = ran.numbers(news.CHANGES, hour)
    assert (numbers["contacts_read"], numbers["contacts_accepted"], numbers["contacts_refused"]) == (2, 2, 0)
    assert 5400 + HOUR_SECONDS <= numbers["lag_seconds"] <= 5400 + HOUR_SECONDS + 60
    assert numbers["changed_since"] <= news.account.now() - HOUR_SECONDS - 5400 <= numbers["changed_until"]
    assert len(numbers["chain_from"]) == len(numbers["fingerprint"]) == 16
    assert "lag_seconds" not in ran.numbers(news.CHANGES, news.hour())  # Nothing changed in that one.


def test_archiving_a_contact_or_changing_an_archived_is_a_change(news: Newsletter) -> None:
    members = list(news.listed)
    leaving = next(member.contact_id for member in members if member.status != "archived")
    archived = next(member.contact_id for member in members if member.status == "archived")
    news.listed.archive(leaving)
    news.listed.update(archived, merge_fields={"FNAME": "Still there"})
    news.let_hours_pass(2)
    assert news.incremental_sync().success
    found = [news.listed.find(contact_id) for contact_id in (leaving, archived)]
    records = [news.target.records[member.id] for member in found if member is not None]
    assert [record.status for record in records] == ["archived", "archived"]
    assert records[1].firstname == "Still there"


def test_a_late_commit_is_imported_by_the_next_run(news: Newsletter) -> None:
    news.let_hours_pass(2)
    news.incremental_sync()
    since_the_hour = news.account.now() - last_second_over(news.account.now())
    late = news.change(0, seconds_ago=since_the_hour + 240)  # Stamped four minutes before the end of an imported hour.
    news.let_hours_pass(1)
    assert news.missing == late
    assert news.incremental_sync().success
    assert news.missing == set()


@pytest.mark.parametrize("off_by", [-600, 600], ids=["slow", "fast"])
def test_a_clock_off_by_ten_minutes_costs_only_a_request(news: Newsletter, off_by: int) -> None:
    news.account.clock_offset_seconds = -2 * HOUR_SECONDS + off_by
    news.change(0, 1)
    news.account.clock_offset_seconds = off_by
    over = news.hour()
    ran = news.incremental_sync()
    assert (ran.success, news.missing) == (True, set())
    assert hours_of(ran)[-1] in (over, news.hour())
    assert len(news.asked()) <= 3


def test_a_full_sync_during_the_day_continues_the_chain(news: Newsletter) -> None:
    news.let_hours_pass(3)
    news.incremental_sync()
    news.let_hours_pass(2)
    assert synced_only(news.full_sync(page_size=1000), news.CONTACTS)
    news.let_hours_pass(1)
    ran = news.incremental_sync()
    assert ran.success
    assert len(hours_of(ran)) <= 2
    assert hours_of(ran)[-1] == news.hour()


def test_unsynced_audiences_get_a_full_sync_after_the_others(news: Newsletter) -> None:
    globex = neighbour(news)
    changed = news.change(0)
    news.let_hours_pass(2)
    ran = news.incremental_sync()
    assert synced_only(ran, "globex/newsletter/contacts"), changed
    assert (news.missing, news.stage.missing("globex")) == (set(), set())
    assert ran.said("globex/newsletter: a full sync comes last, because the event log has no successful full sync")
    lists = [request.path.split("/")[-2] for request in news.asked()]
    assert lists == sorted(lists, key=[news.listed.list_id, globex.lists[0].list_id].index)


def test_without_newcomers_unsynced_audiences_are_left_and_named(news: Newsletter) -> None:
    neighbour(news)
    news.let_hours_pass(2)
    ran = news.incremental_sync(newcomers=False)
    assert synced_only(ran)
    assert hours_of(ran)[-1] == news.hour()
    assert ran.said("globex/newsletter: it is left to full_sync, because the event log has no")
    assert not any("globex" in line.asset for line in ran.log)


def test_the_config_can_select_clients_or_audiences(news: Newsletter) -> None:
    neighbour(news)
    news.let_hours_pass(2)
    assert synced_only(news.incremental_sync(clients=["globex"]), "globex/newsletter/contacts")
    ran = news.incremental_sync(audiences=["acme/newsletter"])
    assert synced_only(ran)
    assert hours_of(ran)[-1] == news.hour()


def test_a_client_removed_for_a_while_resumes_without_loss(news: Newsletter) -> None:
    news.let_hours_pass(2)
    news.incremental_sync()
    neighbour(news)
    with_acme, held = news.clients, dict(news.target.records)
    changed = news.change(0)
    news.clients = news.stage.load({"globex": news.stage.declared()["globex"]})
    news.let_hours_pass(2)
    assert synced_only(news.incremental_sync(), "globex/newsletter/contacts")
    assert (news.target.records, news.missing) == (held, changed)
    news.clients = with_acme
    news.let_hours_pass(1)
    ran = news.incremental_sync(clients=["acme"])
    assert synced_only(ran)
    assert news.missing == set()
    assert len(hours_of(ran)) >= 3


def test_an_account_locked_by_another_run_is_left_to_the_next(news: Newsletter) -> None:
    news.let_hours_pass(2)
    locks = account_locks(news.instance)
    assert locks.take({account_identity(client) for client in news.clients.clients})
    ran = news.incremental_sync(busy_patience_seconds=0.1)
    assert (ran.success, hours_of(ran), news.asked()) == (True, [], [])
    assert ran.said("left to a later run: acme")
    locks.release_all()
    assert hours_of(news.incremental_sync())[-1] == news.hour()


def test_a_revoked_key_stops_its_client_and_turns_nothing_red(three: Newsletter) -> None:
    """All audiences of the client stop."""
    with three.revoked():
        ran = three.incremental_sync()
        assert not ran.success
        assert len(three.asked()) <= 3  # Those in flight at once.
    for audience in THREE:
        assert f"- acme/{audience}" in ran.message
    assert ran.message.count("Mailchimp refuses the key") == 3
    assert three.quarantined == {}
    assert three.incremental_sync().success


def test_a_revoked_key_costs_one_request(news: Newsletter) -> None:
    """It fails no other client."""
    globex = neighbour(news)
    assert news.full_sync(page_size=1000, clients=["globex"]).success
    changed = news.change(0)
    for account in (news.account, globex.account):
        account.clock_offset_seconds += 3 * HOUR_SECONDS
    globex.account.secrets.clear()
    asked = news.stage.sandbox.asked_about(globex.lists[0].list_id)
    ran = news.incremental_sync()
    assert news.stage.sandbox.asked_about(globex.lists[0].list_id) == asked + 1
    assert (ran.success, news.missing) == (False, set()), changed
    assert hours_of(ran)[-1] == news.hour()
    assert "- globex/newsletter" in ran.message
    assert "acme" not in ran.message


def test_an_account_whose_every_request_hangs_delays_no_other(news: Newsletter) -> None:
    neighbour(news)
    assert news.full_sync(page_size=1000, clients=["globex"]).success
    news.let_hours_pass()
    news.change(0, 1)
    globex = news.stage.clients["globex"]
    globex.account.clock_offset_seconds = news.account.clock_offset_seconds
    changed = next(iter(globex.lists[0]))
    globex.lists[0].update(
        changed.contact_id, merge_fields={"FNAME": "Changed"}, at=globex.account.now() - HOUR_SECONDS
    )
    news.account.fault_plan = FaultPlan(rates={Fault.HANG: 1.0}, hang_seconds=0.5)
    ran = news.incremental_sync(mailchimp={"retries": 0, "read_timeout_seconds": 1.0})
    assert not ran.success
    assert "no complete answer arrived in time" in ran.message
    assert [line.split("/")[0] for line in ran.message.splitlines()[1:]] == ["- acme"]
    assert news.stage.missing("globex") == set()
    reported = [number for number, it in enumerate(ran.log) if it.asset == "globex/newsletter/contact_changes"]
    given_up = [number for number, it in enumerate(ran.log) if it.text.startswith("acme/newsletter is incomplete")]
    assert reported
    assert given_up
    assert max(reported) < min(given_up)


@pytest.mark.parametrize("instance", ["postgres"], indirect=True)
def test_a_run_that_loses_its_locks_makes_no_more_requests(news: Newsletter, postgres: Postgres, database: str) -> None:
    """The next run makes up for it."""
    changed = news.change(*range(10))
    news.let_hours_pass()
    ended = list[int]()

    def end_the_session(request: SandboxRequest) -> bool:
        if request.path.endswith("/members") and request.query.get("status") != "archived" and not ended:
            ended.append(postgres.end_sessions(database))
        return False

    news.fail(end_the_session)
    ran = news.incremental_sync()
    assert ended == [1]
    assert not ran.success
    assert ran.message.startswith("the connection to the database that holds the accounts' locks was lost")
    assert "start the run again: it resumes where it stopped" in ran.message
    assert news.missing & changed
    assert news.incremental_sync().success
    assert not news.missing & changed
