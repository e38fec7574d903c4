"""Both API clients against the sandbox, over HTTP and in this process: the same answers and the same errors."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from pydantic import SecretStr
from requests.adapters import BaseAdapter

from importer_pipeline.errors import (
    BrokenAnswer,
    ImporterError,
    KeyRefused,
    ListNotFound,
    TargetKeyRefused,
    TooManyRequests,
    TooSlow,
    TurnedAway,
    Unavailable,
)
from importer_pipeline.listing.coverage import BEGINNING, PageRequest
from importer_pipeline.mailchimp.client import (
    CredentialKind,
    Credentials,
    MailchimpClient,
    MailchimpLimits,
    read_member,
    read_members,
    read_ping,
)
from importer_pipeline.records.contacts import Record
from importer_pipeline.records.receipt import Receipt
from importer_pipeline.sandbox.adapter import SandboxAdapter
from importer_pipeline.sandbox.core import METADATA, Sandbox
from importer_pipeline.sandbox.faults import Fault, FaultPlan
from importer_pipeline.sandbox.server import SandboxServer
from importer_pipeline.target.client import TargetClient, TargetLimits

KEY, TOKEN, TARGET_KEY = "0123456789abcdef0123456789abcdef-us1", "fedcba9876543210" * 4, "target-key"
LIST_ID = "1a2d7ebf82"
NOW = 1_700_000_000
FIELDS = "members.id,members.last_changed,members.email_address,total_items"
ALL = PageRequest(since=BEGINNING, before=NOW, offset=0, count=1000)
RECORD = Record(id="1", firstname="", lastname="", email="", status="subscribed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A sandbox, and how it is reached."""

    sandbox: Sandbox
    url: str
    adapter: BaseAdapter | None

    def mailchimp(self, secret: str = KEY, kind: CredentialKind = CredentialKind.API_KEY) -> MailchimpClient:
        """Return a client of the account, opened by a secret."""
        return MailchimpClient(
            Credentials(kind=kind, secret=SecretStr(secret)),
            base_url=f"{self.url}/3.0" if kind is CredentialKind.API_KEY else None,
            limits=MailchimpLimits(read_timeout_seconds=0.5),
            oauth_metadata_url=f"{self.url}{METADATA}",
            adapter=self.adapter,
        )

    def target(self, key: str = TARGET_KEY) -> TargetClient:
        """Return a client of the target, opened by a key."""
        limits = TargetLimits(read_timeout_seconds=0.5)
        return TargetClient(f"{self.url}/target", SecretStr(key), limits=limits, adapter=self.adapter)


@pytest.fixture(params=["over HTTP", "in process"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    sandbox = Sandbox(clock=lambda: float(NOW + 60), seed=1)
    members = sandbox.add_account("acme", api_key=KEY, access_token=TOKEN).add_list(LIST_ID)
    members.fill(1500, changed_between=(NOW - 10_000, NOW), seed=1, archived_share=0.2)
    sandbox.add_target(TARGET_KEY)
    if request.param == "in process":
        yield Place(
            sandbox=sandbox, url="http://sandbox.invalid", adapter=SandboxAdapter(sandbox, sleep=lambda _: None)
        )
        return
    with SandboxServer(sandbox) as server:
        yield Place(sandbox=sandbox, url=server.url, adapter=None)


def test_pages_hold_what_the_list_holds_in_the_order_of_change(place: Place) -> None:
    mailchimp = place.mailchimp()
    pages = [
        read_members(mailchimp.members(LIST_ID, replace(ALL, offset=offset), archived=archived, fields=FIELDS))
        for archived, offset in ((False, 0), (False, 1000), (True, 0))
    ]
    mailchimp.close()
    assert len({member["id"] for page in pages for member in page.members}) == 1500
    assert pages[0].total_items + pages[2].total_items == 1500
    assert pages[0].server_time == NOW + 60
    moments = [member["last_changed"] for page in pages[:2] for member in page.members]
    assert moments == sorted(moments)


def test_bounds_are_exclusive_below_and_inclusive_above(place: Place) -> None:
    mailchimp = place.mailchimp()
    whole = read_members(mailchimp.members(LIST_ID, ALL, archived=False, fields=FIELDS))
    ask = PageRequest(since=NOW - 5000, before=NOW, offset=0, count=1)
    late = read_members(mailchimp.members(LIST_ID, ask, archived=False, fields=FIELDS)).total_items
    ask = PageRequest(since=BEGINNING, before=NOW - 5000, offset=0, count=1)
    early = read_members(mailchimp.members(LIST_ID, ask, archived=False, fields=FIELDS)).total_items
    mailchimp.close()
    assert 0 < early < whole.total_items
    assert early + late == whole.total_items


def test_a_token_finds_its_data_centre(place: Place) -> None:
    mailchimp = place.mailchimp(TOKEN, CredentialKind.ACCESS_TOKEN)
    read_ping(mailchimp.ping())
    mailchimp.close()


def test_an_unknown_token_is_refused(place: Place) -> None:
    with pytest.raises(KeyRefused, match="token"):
        place.mailchimp("unknown", CredentialKind.ACCESS_TOKEN).ping()


def test_an_unknown_key_is_refused(place: Place) -> None:
    with pytest.raises(KeyRefused):
        read_ping(place.mailchimp("unknown-us1").ping())


def test_an_unknown_list_is_not_found_an_unknown_member_is_none(place: Place) -> None:
    mailchimp = place.mailchimp()
    with pytest.raises(ListNotFound):
        read_members(mailchimp.members("ffffffffff", ALL, archived=False, fields=FIELDS))
    assert read_member(mailchimp.member(LIST_ID, "0" * 32, fields="id")) is None
    some = read_members(mailchimp.members(LIST_ID, ALL, archived=True, fields=FIELDS)).members[0]
    assert read_member(mailchimp.member(LIST_ID, some["id"], fields="id,status")) == {
        "id": some["id"],
        "status": "archived",
    }
    mailchimp.close()


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault.ERROR_500, Unavailable),
        (Fault.TOO_MANY_REQUESTS, TooManyRequests),
        (Fault.GATEWAY_TIMEOUT, TooSlow),
        (Fault.BLOCKED_HTML, TurnedAway),
        (Fault.AKAMAI_503, TurnedAway),
        (Fault.CUT, BrokenAnswer),
        (Fault.RESET, Unavailable),
        (Fault.BROKEN_JSON, BrokenAnswer),
        (Fault.WRONG_SHAPE, BrokenAnswer),
        (Fault.HANG, TooSlow),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else value.__name__,
)
def test_a_faulty_mailchimp_is_the_same_in_process_and_served(
    place: Place, fault: Fault, kind: type[ImporterError]
) -> None:
    place.sandbox.accounts["acme"].fault_plan = FaultPlan(rates={fault: 1.0}, hang_seconds=1.0)
    mailchimp = place.mailchimp()
    with pytest.raises(kind) as caught:
        read_members(mailchimp.members(LIST_ID, ALL, archived=False, fields=FIELDS))
    mailchimp.close()
    assert type(caught.value) is kind


def test_records_are_accepted(place: Place) -> None:
    target = place.target()
    assert target.post([RECORD, RECORD._replace(id="2")]) == Receipt(sent=2, accepted=2)
    target.close()


def test_an_unknown_target_key_is_refused(place: Place) -> None:
    with pytest.raises(TargetKeyRefused):
        place.target("unknown").post([RECORD])


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault.ERROR_500, Unavailable),
        (Fault.TOO_MANY_REQUESTS, TooManyRequests),
        (Fault.CUT, BrokenAnswer),
        (Fault.RESET, Unavailable),
        (Fault.BROKEN_JSON, BrokenAnswer),
        (Fault.WRONG_SHAPE, BrokenAnswer),
        (Fault.HANG, Unavailable),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else value.__name__,
)
def test_a_faulty_target_is_the_same_in_process_and_served(
    place: Place, fault: Fault, kind: type[ImporterError]
) -> None:
    (stored,) = place.sandbox.targets.values()
    stored.fault_plan = FaultPlan(rates_after_storing={fault: 1.0}, hang_seconds=1.0)
    target = place.target()
    with pytest.raises(kind) as caught:
        target.post([RECORD])
    target.close()
    assert type(caught.value) is kind
    assert set(stored.records) == {"1"}
