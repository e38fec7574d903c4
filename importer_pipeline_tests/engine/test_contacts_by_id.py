"""Single contacts, from the request by their id to what is told of them: the engine by hand, then Mailchimp over HTTP."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from importer_pipeline.engine.audience_plan import ContactsScope
from importer_pipeline.engine.audience_sync import Fetch
from importer_pipeline.engine.concurrency import LimiterRegistry
from importer_pipeline.engine.outcomes import (
    AudienceDone,
    ContactsRefusedAgain,
    ContactsSettled,
    Outcome,
    Part,
    PartCounts,
)
from importer_pipeline.engine.services import SyncLimits
from importer_pipeline.engine.sync import Sync
from importer_pipeline.errors import ListNotFound, TriesUsedUp, Unavailable
from importer_pipeline.mailchimp.client import MailchimpClient, MailchimpLimits
from importer_pipeline.records.contacts import DEFAULT_RECORD, RecordMapping
from importer_pipeline.runner.workers import AudienceEndpoints, Workers
from importer_pipeline.sandbox.members import ARCHIVED
from importer_pipeline.sandbox.target import Manner, Refusal
from importer_pipeline.target.client import TargetClient, TargetLimits
from importer_pipeline_tests.support.factories import SMALL, Halfway, plan
from importer_pipeline_tests.support.stage import Stage

MAPPING = RecordMapping.of(DEFAULT_RECORD, list_id="a1")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    stage.add("acme", contacts=30)
    with stage:
        yield stage


def lines_of(stage: Stage) -> AudienceEndpoints:
    client = stage.load().clients[0]
    return AudienceEndpoints(
        account=MailchimpClient(
            client.mailchimp.credentials(), base_url=client.mailchimp.base_url, limits=MailchimpLimits()
        ),
        list_id=client.audiences[0].list_id,
        mapping=MAPPING,
        target=TargetClient(client.target.url, client.target.read_key(), limits=TargetLimits()),
    )


def told(stage: Stage, *contact_ids: str, limits: SyncLimits | None = None) -> list[Outcome]:
    """Return the outcomes of these contacts."""
    asked = replace(plan(), scope=ContactsScope(contact_ids=contact_ids))
    sync = Sync(
        [asked], paging=SMALL, limits=limits or SyncLimits(retries=0), limiters=LimiterRegistry(), rng=Halfway(),
        epoch_offset_seconds=time.time() - time.monotonic(),
    )  # fmt: skip
    workers = Workers(sync, {asked.name: lines_of(stage)}, check=lambda: None)
    try:
        return [outcome for outcomes in workers.run() for outcome in outcomes]
    finally:
        workers.end()


def test_archived_and_missing_contacts_are_settled(stage: Stage) -> None:
    """A contact is imported whether archived or not; one that is gone from Mailchimp is settled as well."""
    listed = stage.clients["acme"].lists[0]
    active, archived = (
        next(member.id for member in listed if (member.status == ARCHIVED) is is_archived)
        for is_archived in (False, True)
    )
    settled, done = told(stage, active, archived, "0" * 32)
    assert settled == ContactsSettled(name=plan().name, contact_ids=frozenset({active, archived, "0" * 32}))
    assert isinstance(done, AudienceDone)
    assert (done.part, done.complete, done.parts) == (Part.CONTACT, True, PartCounts(total=3))
    assert (done.totals.accepted, done.totals.refused) == (2, 0)
    assert set(stage.clients["acme"].target.records) == {active, archived}


def test_a_contact_refused_again_has_its_reason(stage: Stage) -> None:
    client = stage.clients["acme"]
    one, other = [member.id for member in client.lists[0]][:2]
    client.target.refusals = (Refusal.of_ids({one}, Manner.REJECT),)
    settled, again, done = told(stage, one, other)
    assert settled == ContactsSettled(name=plan().name, contact_ids=frozenset({other}))
    assert isinstance(again, ContactsRefusedAgain)
    assert [contact.contact_id for contact in again.contacts] == [one]
    assert isinstance(done, AudienceDone)
    assert (done.complete, done.run.refused, done.parts.left) == (True, 1, 0)


def test_without_its_list_nothing_is_known_of_a_contact(stage: Stage) -> None:
    client = stage.clients["acme"]
    contact_id = next(member.id for member in client.lists[0])
    lists = dict(client.account.lists)
    lines = lines_of(stage)
    client.account.lists.clear()
    asked = replace(plan(), scope=ContactsScope(contact_ids=(contact_id,)))
    sync = Sync(
        [asked], paging=SMALL, limits=SyncLimits(), limiters=LimiterRegistry(), rng=Halfway(), epoch_offset_seconds=0.0
    )
    workers = Workers(sync, {asked.name: lines}, check=lambda: None)
    (done,) = [outcome for outcomes in workers.run() for outcome in outcomes]
    workers.end()
    client.account.lists.update(lists)
    assert isinstance(done, AudienceDone)
    assert isinstance(done.error, ListNotFound)
    assert (done.parts.left, done.is_proved, done.is_accounted_for) == (1, False, False)


def test_an_unreadable_contact_is_left_and_counts_as_tried() -> None:
    asked = replace(plan(), scope=ContactsScope(contact_ids=("a", "b")))
    sync = Sync(
        [asked], paging=SMALL, limits=SyncLimits(retries=0), limiters=LimiterRegistry(), rng=Halfway(),
        epoch_offset_seconds=time.time() - time.monotonic(),
    )  # fmt: skip
    while isinstance(fetch := sync.take(0.0), Fetch):
        sync.connection_freed(fetch, 1.0)
        sync.fetch_failed(fetch, Unavailable("HTTP 500"), 1.0)
    assert sync.finished
    again, done = sync.outcomes
    assert isinstance(done, AudienceDone)
    assert isinstance(done.error, TriesUsedUp)
    assert isinstance(again, ContactsRefusedAgain)
    assert [(it.contact_id, "HTTP 500" in it.reason) for it in again.contacts] == [("a", True), ("b", True)]
    assert (done.parts.left, done.parts.failed) == (2, ())


def test_fields_of_one_member_start_at_the_member() -> None:
    assert MAPPING.member_fields == "id,last_changed,merge_fields.FNAME,merge_fields.LNAME,email_address,status"
