import json
import threading
import traceback
import tracemalloc
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from importer_pipeline.errors import (
    BrokenAnswer,
    ConnectionUnusable,
    ImporterError,
    KeyRefused,
    ListNotFound,
    RequestRefused,
    SecretMissing,
    TooSlow,
    TurnedAway,
    Unavailable,
)
from importer_pipeline.listing.coverage import BEGINNING, PageRequest
from importer_pipeline.mailchimp.client import (
    Answer,
    CredentialKind,
    Credentials,
    MailchimpClient,
    MailchimpLimits,
    read_list,
    read_member,
    read_members,
    read_ping,
    server_time,
)
from importer_pipeline_tests.support.loopback import Ending, Loopback, Received, Step, reply

KEY = "0123456789abcdef0123456789abcdef-us6"
TOKEN = "fedcba9876543210"
FIELDS = "members.id,members.merge_fields.FNAME,total_items"
ASK = PageRequest(since=1_600_000_000, before=1_700_000_000, offset=1980, count=1000)
LIMITS = MailchimpLimits(read_timeout_seconds=2.0)


def account(
    url: str | None, *, secret: str = KEY, limits: MailchimpLimits = LIMITS, metadata: str = ""
) -> MailchimpClient:
    kind = CredentialKind.API_KEY if secret == KEY else CredentialKind.ACCESS_TOKEN
    credentials = Credentials(kind=kind, secret=SecretStr(secret))
    if not metadata:
        return MailchimpClient(credentials, base_url=url, limits=limits)
    return MailchimpClient(credentials, base_url=url, limits=limits, oauth_metadata_url=metadata)


def page(members: object = (), total: object = 0, *, status: int = 200, date: str | None = None) -> Answer:
    body = json.dumps({"members": members, "total_items": total}).encode()
    return Answer(status=status, headers={} if date is None else {"Date": date}, body=body)


def problem(status: int) -> Answer:
    document = {"type": "https://mailchimp.com/errors/", "title": "?", "detail": "?", "status": status}
    return Answer(status=status, headers={}, body=json.dumps(document).encode())


def requested(
    ask: PageRequest, *, archived: bool = False, list_id: str = "1a2d7ebf82"
) -> tuple[str, dict[str, str], Received]:
    with Loopback(lambda _: [reply(200, {})]) as server:
        mailchimp = account(f"{server.url}/3.0/")
        mailchimp.members(list_id, ask, archived=archived, fields=FIELDS)
        mailchimp.close()
    method, target, _ = server.received[0].line.split()
    assert method == "GET"
    parts = urlsplit(target)
    return parts.path, {name: value for name, (value,) in parse_qs(parts.query).items()}, server.received[0]


def test_a_page_is_requested_by_time_and_offset() -> None:
    """In the order of `last_changed`."""
    path, query, _ = requested(ASK)
    assert path == "/3.0/lists/1a2d7ebf82/members"
    assert query == {
        "fields": FIELDS,
        "count": "1000",
        "offset": "1980",
        "sort_field": "last_changed",
        "sort_dir": "ASC",
        "since_last_changed": "2020-09-13T12:26:40+00:00",
        "before_last_changed": "2023-11-14T22:13:20+00:00",
    }


def test_the_plus_of_a_time_zone_is_encoded() -> None:
    _, _, request = requested(ASK)
    assert "+" not in request.line
    assert "%2B00:00" in request.line


def test_a_walk_from_the_beginning_has_no_lower_bound() -> None:
    _, query, _ = requested(replace(ASK, since=BEGINNING))
    assert "since_last_changed" not in query


def test_archived_contacts_are_a_listing_of_their_own() -> None:
    assert requested(ASK)[1].get("status") is None
    assert requested(ASK, archived=True)[1]["status"] == "archived"


def test_a_list_id_cannot_lead_to_another_route() -> None:
    path, _, _ = requested(ASK, list_id="a/../b?c#d")
    assert path == "/3.0/lists/a%2F..%2Fb%3Fc%23d/members"


@pytest.mark.parametrize(("secret", "scheme"), [(KEY, "Basic"), (TOKEN, "Bearer")], ids=["key", "token"])
def test_a_given_url_is_used_with_a_key_and_with_a_token(secret: str, scheme: str) -> None:
    with Loopback(lambda _: [reply(200, {"health_status": "Everything's Chimpy!"})]) as server:
        mailchimp = account(f"{server.url}/3.0", secret=secret)
        read_ping(mailchimp.ping())
        mailchimp.close()
    assert server.received[0].line == "GET /3.0/ping HTTP/1.1"
    assert server.received[0].headers["authorization"].split()[0] == scheme


def test_a_key_leads_to_its_data_centre() -> None:
    assert "https://us6.api.mailchimp.com/3.0" in repr(account(None))


def test_a_key_without_a_data_centre_needs_a_url() -> None:
    credentials = Credentials(kind=CredentialKind.API_KEY, secret=SecretStr("abc"))
    with pytest.raises(SecretMissing):
        MailchimpClient(credentials, base_url=None, limits=LIMITS)


def test_the_repr_of_an_account_holds_no_key() -> None:
    assert KEY not in repr(account(None))


def test_a_member_is_asked_for_by_its_id() -> None:
    with Loopback(lambda _: [reply(200, {"id": "5d41"})]) as server:
        mailchimp = account(f"{server.url}/3.0")
        member = read_member(mailchimp.member("1a2d7ebf82", "5d41", fields="id,status"))
        mailchimp.close()
    assert member == {"id": "5d41"}
    assert server.received[0].line == "GET /3.0/lists/1a2d7ebf82/members/5d41?fields=id,status HTTP/1.1"


def test_a_member_that_is_gone_is_none() -> None:
    assert read_member(problem(404)) is None


@pytest.mark.parametrize("body", [b"", b"<html>Not found</html>", b"{}"], ids=["nothing", "HTML", "an object"])
@pytest.mark.parametrize("read", [read_member, read_list, read_members, read_ping], ids=lambda read: read.__name__)
def test_a_404_of_something_in_between_proves_nothing(read: Any, body: bytes) -> None:
    with pytest.raises(TurnedAway):
        read(Answer(status=404, headers={}, body=body))


TRANSPORT: dict[str, tuple[type[ImporterError], list[Step]]] = {
    "silence": (TooSlow, [Ending.SILENCE]),
    "no answer": (Unavailable, [Ending.CUT]),
    "a cut body": (BrokenAnswer, [reply(200, {"members": []})[:-1], Ending.CUT]),
}


@pytest.mark.parametrize(("kind", "steps"), TRANSPORT.values(), ids=TRANSPORT)
def test_a_failed_connection_names_mailchimp_and_no_key(kind: type[ImporterError], steps: list[Step]) -> None:
    with Loopback(lambda _: steps) as server:
        mailchimp = account(server.url, limits=replace(LIMITS, read_timeout_seconds=0.05))
        with pytest.raises(kind, match="Mailchimp") as caught:
            mailchimp.members("1a2d7ebf82", ASK, archived=False, fields=FIELDS)
        mailchimp.close()
    assert KEY not in "".join(traceback.format_exception(caught.value))


def test_an_unknown_data_centre_is_named_as_the_likely_cause() -> None:
    mailchimp = account("http://nowhere.invalid/3.0")
    with pytest.raises(Unavailable, match="data centre"):
        mailchimp.ping()


def test_a_url_that_is_none_cannot_be_asked() -> None:
    with pytest.raises(ConnectionUnusable, match="base_url"):
        account("http://[::1").ping()


class Metadata:
    """Mailchimp with its OAuth metadata, on one server."""

    def __init__(self, *answers: Any, pause: float = 0.0) -> None:
        self.answers = list(answers)
        self.pause = pause
        self.server = Loopback(self.steps)

    def steps(self, request: Received) -> Sequence[Step]:
        if "metadata" not in request.line:
            return [reply(200, {"members": [], "total_items": 0})]
        answer = self.answers.pop(0)
        answer = {"dc": "us3", "api_endpoint": self.server.url} if answer == "here" else answer
        return [self.pause, reply(answer) if isinstance(answer, int) else reply(200, answer)]

    def account(self) -> MailchimpClient:
        return account(None, secret=TOKEN, metadata=f"{self.server.url}/oauth2/metadata")

    def asked(self) -> list[Received]:
        return [request for request in self.server.received if "metadata" in request.line]


def test_threads_look_up_the_data_centre_of_a_token_once() -> None:
    mailchimp = Metadata("here", pause=0.03)
    with mailchimp.server:
        shared = mailchimp.account()
        barrier = threading.Barrier(6)

        def ask(_: int) -> int:
            barrier.wait()
            return shared.members("1a2d7ebf82", ASK, archived=False, fields=FIELDS).status

        with ThreadPoolExecutor(6) as pool:
            assert list(pool.map(ask, range(6))) == [200] * 6
        shared.close()
    assert [request.headers["authorization"] for request in mailchimp.asked()] == [f"OAuth {TOKEN}"]
    assert mailchimp.server.received[-1].line.startswith("GET /3.0/lists/")
    assert mailchimp.server.received[-1].headers["authorization"] == f"Bearer {TOKEN}"


BAD_METADATA: dict[str, tuple[Any, type[ImporterError]]] = {
    "a bad token": ({"error": "invalid_token"}, KeyRefused),
    "401": (401, TurnedAway),
    "no endpoint": ({"dc": "us3"}, BrokenAnswer),
    "an endpoint that is not a URL": ({"api_endpoint": "us3"}, BrokenAnswer),
    "no object": ([], BrokenAnswer),
    "404": (404, TurnedAway),
    "500": (500, Unavailable),
    "a redirect": (302, TurnedAway),
}


@pytest.mark.parametrize(("answer", "kind"), BAD_METADATA.values(), ids=BAD_METADATA)
def test_unusable_metadata_are_an_error_and_not_kept(answer: Any, kind: type[ImporterError]) -> None:
    mailchimp = Metadata(answer, "here")
    with mailchimp.server:
        asking = mailchimp.account()
        with pytest.raises(kind) as caught:
            asking.ping()
        assert asking.ping().status == 200
        asking.close()
    assert TOKEN not in "".join(traceback.format_exception(caught.value))


def test_a_page_holds_its_members_its_total_and_its_moment() -> None:
    members = [{"id": "5d41", "last_changed": "2022-02-23T16:25:57+00:00", "merge_fields": None}]
    found = read_members(page(members, 99, date="Wed, 23 Feb 2022 19:29:27 GMT"))
    assert (found.members, found.total_items, found.server_time) == (members, 99, 1_645_644_567)


def test_a_page_beyond_the_end_is_empty_and_keeps_its_total() -> None:
    found = read_members(page([], 28_045))
    assert (found.members, found.total_items) == ([], 28_045)


@pytest.mark.parametrize("date", [None, "", "yesterday", "Wed, 99 Feb 2022 19:29:27 GMT"])
def test_a_page_without_a_date_has_no_moment(date: str | None) -> None:
    assert read_members(page(date=date)).server_time is None


DOUBTFUL_DATES = [
    "Wed, 23 Feb 2022 19:29:27 +0000",
    "Thu, 23 Feb 2022 19:29:27 GMT",
    "23 Feb 2022 19:29:27 GMT",
    "1645644567",
]


@pytest.mark.parametrize("date", DOUBTFUL_DATES)
def test_a_date_of_another_form_tells_no_moment(date: str) -> None:
    assert read_members(page(date=date)).server_time is None


def test_two_dates_are_broken() -> None:
    date = b"Date: Wed, 23 Feb 2022 19:29:27 GMT\r\n"
    with Loopback(lambda _: [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + 2 * date + b"\r\n{}"]) as server:
        mailchimp = account(server.url)
        answer = mailchimp.ping()
        mailchimp.close()
    with pytest.raises(BrokenAnswer, match="several"):
        server_time(answer)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.text())
def test_any_date_header_is_a_moment_none_or_broken(date: str) -> None:
    try:
        assert type(server_time(page(date=date))) in (int, type(None))
    except BrokenAnswer:
        assert date.count(":") > 2


def test_the_case_of_the_date_header_does_not_matter() -> None:
    answer = Answer(status=200, headers={"date": "Thu, 01 Jan 1970 00:01:00 GMT"}, body=page().body)
    assert read_members(answer).server_time == 60


def test_the_repr_of_a_page_holds_no_members() -> None:
    assert "5d41" not in repr(read_members(page([{"id": "5d41", "last_changed": ""}], 1)))


MEMBER = {"id": "5d41", "last_changed": "2022-02-23T16:25:57+00:00"}
WRONG_SHAPES: dict[str, object] = {
    "a list": [],
    "null": None,
    "no members": {"total_items": 1},
    "members as an object": {"members": {}, "total_items": 1},
    "members null": {"members": None, "total_items": 1},
    "no total": {"members": [MEMBER]},
    "a total that is text": {"members": [MEMBER], "total_items": "1"},
    "a total that is true": {"members": [MEMBER], "total_items": True},
    "a total that is a fraction": {"members": [MEMBER], "total_items": 1.5},
    "a total below nothing": {"members": [], "total_items": -1},
    "a member that is text": {"members": [MEMBER, "5d41"], "total_items": 2},
    "a member that is null": {"members": [None], "total_items": 1},
    "a member without its moment": {"members": [MEMBER, {"id": "5d41"}], "total_items": 2},
    "a member whose moment is a number": {"members": [{"last_changed": 5}], "total_items": 1},
    "an error in place of a page": {"title": "Internal Server Error", "status": 500},
}


@pytest.mark.parametrize("shape", WRONG_SHAPES.values(), ids=WRONG_SHAPES)
def test_a_page_of_another_shape_is_broken(shape: object) -> None:
    with pytest.raises(BrokenAnswer, match="expected") as caught:
        read_members(Answer(status=200, headers={}, body=json.dumps(shape).encode()))
    assert "5d41" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", page([MEMBER], 1).body[:-1], b"\xff\xfe\x00", b'{"members": [\xff]}', b"[" * 200_000],
    ids=["nothing", "HTML", "cut", "no text", "no UTF-8", "too deep"],
)
def test_a_body_that_is_not_json_is_broken_and_is_not_quoted(body: bytes) -> None:
    with pytest.raises(BrokenAnswer, match=f"{len(body)} bytes") as caught:
        read_members(Answer(status=200, headers={}, body=body))
    assert caught.value.__cause__ is None
    assert "5d41" not in "".join(traceback.format_exception(caught.value))


DOUBLES = {
    "two totals": b'{"members": [], "total_items": 5, "total_items": 0}',
    "two lists": b'{"members": [{"last_changed": ""}], "members": [], "total_items": 0}',
    "a total before and one behind": b'{"total_items": 5, "members": [{"last_changed": ""}], "total_items": 0}',
    "an empty list behind": b'{"members": [{"last_changed": ""}], "total_items": 0, "members": []}',
}


@pytest.mark.parametrize("body", DOUBLES.values(), ids=DOUBLES)
def test_a_page_that_says_two_things_is_broken(body: bytes) -> None:
    with pytest.raises(BrokenAnswer):
        read_members(Answer(status=200, headers={}, body=body))


def test_a_text_that_is_called_as_a_key_is_a_text() -> None:
    members = [{"last_changed": "", "name": "members", "first": '"total_items"', "last": "last_changed"}]
    assert read_members(page(members, 1)).members == members


@pytest.mark.parametrize("filling", [b"[],", b"{},", b"[[[]]],", b"0,"], ids=["lists", "objects", "nested", "numbers"])
def test_a_page_of_nothing_but_values_is_not_parsed(filling: bytes) -> None:
    body = b'{"members": [' + filling * 1_000_000 + b'0], "total_items": 1}'
    tracemalloc.start()
    with pytest.raises(BrokenAnswer):
        read_members(Answer(status=200, headers={}, body=body))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < len(body)


def test_half_a_surrogate_pair_does_not_break_its_page() -> None:
    body = b'{"members": [{"last_changed": "", "name": "\\ud83d"}], "total_items": 1}'
    assert read_members(Answer(status=200, headers={}, body=body)).members[0]["name"] == "\ud83d"


@settings(max_examples=50, derandomize=True, deadline=None)
@given(
    st.lists(
        st.dictionaries(
            st.text(), st.none() | st.booleans() | st.text() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False)
        )
    )
)
def test_what_mailchimp_sent_is_what_is_read(members: list[dict[str, Any]]) -> None:
    members = [{**member, "last_changed": ""} for member in members]
    assert read_members(page(members, len(members))).members == members


@pytest.mark.parametrize("read", [read_members, read_member, read_ping], ids=lambda read: read.__name__)
@pytest.mark.parametrize(
    ("status", "kind"),
    [(204, BrokenAnswer), (301, TurnedAway), (400, RequestRefused), (401, KeyRefused), (500, Unavailable)],
)
def test_each_answer_but_200_is_an_error(read: Any, status: int, kind: type[ImporterError]) -> None:
    with pytest.raises(kind):
        read(problem(status))


def test_404_of_a_page_means_its_list_and_of_a_ping_the_url() -> None:
    with pytest.raises(ListNotFound):
        read_members(problem(404))
    with pytest.raises(RequestRefused, match="base_url"):
        read_ping(problem(404))
