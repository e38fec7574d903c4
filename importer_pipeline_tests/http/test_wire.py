import gzip
import os
import socket
import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import BaseAdapter

from importer_pipeline.errors import ImporterError
from importer_pipeline.http import sockets
from importer_pipeline.http.faults import QUOTABLE, Fault
from importer_pipeline.http.sockets import Addresses
from importer_pipeline.http.wire import Answer, Limits, Wire
from importer_pipeline_tests.support.loopback import CERTIFICATE, Ending, Loopback, Received, Step, reply

LIMITS = Limits(
    connect_timeout_seconds=2.0,
    read_timeout_seconds=2.0,
    answer_timeout_seconds=5.0,
    body_limit_bytes=100_000,
)
KEY = "sesame"
PERSONAL = b"person@example.com"
HASTY = replace(LIMITS, read_timeout_seconds=0.05, answer_timeout_seconds=0.2)


class Seen(ImporterError):
    def __init__(self, fault: Fault, variable: str) -> None:
        super().__init__(fault.value)
        self.fault = fault
        self.variable = variable


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in ("NETRC", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            monkeypatch.delenv(name)


def ask(
    url: str,
    path: str = "/x",
    *,
    limits: Limits = LIMITS,
    adapter: BaseAdapter | None = None,
    key: str = "the key",
    body: bytes | None = None,
) -> Answer:
    wire = Wire(limits=limits, error_of=Seen, adapter=adapter)
    try:
        route = wire.route("GET" if body is None else "POST", url, {"Authorization": key})
        return wire.send(route, path, body=body)
    finally:
        wire.close()


def always(*steps: Step) -> Callable[[Received], Sequence[Step]]:
    return lambda _: steps


def chunked(*rest: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(rest)


def test_an_answer_is_returned_whatever_its_status() -> None:
    with Loopback(always(reply(418, b"tea", headers={"X-Leaf": "green"}))) as server:
        answer = ask(server.url)
    assert (answer.status, answer.body, answer.header("x-leaf")) == (418, b"tea", "green")


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(reply(200, b"0123456789" * 2000), id="with its length"),
        pytest.param(chunked(b"4e20\r\n", b"0123456789" * 2000, b"\r\n0\r\n\r\n"), id="in chunks"),
        pytest.param(
            reply(200, gzip.compress(b"0123456789" * 2000), headers={"Content-Encoding": "gzip"}), id="compressed"
        ),
    ],
)
def test_a_body_is_whole_and_its_connection_is_used_again(sent: bytes) -> None:
    with Loopback(always(sent)) as server:
        wire = Wire(limits=LIMITS, error_of=Seen)
        route = wire.route("GET", server.url, {})
        bodies = {wire.send(route, "/").body for _ in range(3)}
        wire.close()
    assert bodies == {b"0123456789" * 2000}
    assert server.connections == 1


FAULTY: dict[str, tuple[Fault, list[Step]]] = {
    "cut before its length": (Fault.CUT, [reply(200, b"x" * 50)[:-1], Ending.CUT]),
    "chunks cut": (Fault.CUT, [chunked(b"a\r\n01234"), Ending.CUT]),
    "chunks without an end": (Fault.CUT, [chunked(b"5\r\n01234\r\n"), Ending.CUT]),
    "chunks that are garbage": (Fault.CUT, [chunked(PERSONAL + b"\r\n"), Ending.CUT]),
    "not HTTP": (Fault.CUT, [PERSONAL + b"\r\n\r\n", Ending.CUT]),
    "not what its encoding says": (Fault.CUT, [reply(200, b"plain" * 100_000, headers={"Content-Encoding": "gzip"})]),
    "compressed and cut": (
        Fault.CUT,
        [reply(200, gzip.compress(b"x" * 999), headers={"Content-Encoding": "gzip"})[:-9], Ending.CUT],
    ),
    "reset within its body": (Fault.CUT, [reply(200, b"x" * 50)[:-20], 0.02, Ending.RESET]),
    "closed without an answer": (Fault.HUNG_UP, [Ending.CUT]),
    "reset without an answer": (Fault.HUNG_UP, [Ending.RESET]),
    "larger than the bound": (Fault.TOO_LARGE, [reply(200, b"x" * 1_000_000)]),
    "larger than the bound once decompressed": (
        Fault.TOO_LARGE,
        [reply(200, gzip.compress(b"x" * 300_000_000, 1), headers={"Content-Encoding": "gzip"})],
    ),
}


@pytest.mark.parametrize(("fault", "steps"), FAULTY.values(), ids=FAULTY)
def test_an_incomplete_answer_is_a_fault(fault: Fault, steps: list[Step]) -> None:
    """Its connection is not used again."""
    with Loopback(lambda request: steps if "bad" in request.line else [reply(200, b"good")]) as server:
        wire = Wire(limits=LIMITS, error_of=Seen)
        route = wire.route("GET", server.url, {})
        with pytest.raises(Seen) as caught:
            wire.send(route, "/bad")
        assert wire.send(route, "/").body == b"good"
        wire.close()
    assert caught.value.fault is fault
    assert server.connections == 2
    assert PERSONAL.decode() not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([Ending.SILENCE], id="before an answer"),
        pytest.param([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", Ending.SILENCE], id="before a body"),
        pytest.param([reply(200, b"x" * 50)[:-1], Ending.SILENCE], id="within a body"),
        pytest.param([chunked(b"2\r\nxy\r\n"), Ending.SILENCE], id="within chunks"),
    ],
)
def test_silence_is_given_up_on(steps: list[Step]) -> None:
    with Loopback(lambda _: steps) as server, pytest.raises(Seen) as caught:
        ask(server.url, limits=HASTY)
    assert caught.value.fault is Fault.SLOW


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_an_answer_that_drips_for_ever_is_given_up_on(encoding: str) -> None:
    head = reply(200, headers={"Content-Encoding": encoding}).replace(b"Length: 0", b"Length: 9999")
    drops = gzip.compress(os.urandom(4000))
    drip = [step for index in range(400) for step in (drops[index : index + 1], 0.005)]
    with Loopback(lambda _: [head, *drip]) as server, pytest.raises(Seen) as caught:
        ask(server.url, limits=HASTY)
    assert caught.value.fault is Fault.SLOW


UNREACHABLE = {
    "a name that nobody has": ("http://nowhere.invalid", Fault.NAME_UNKNOWN),
    "a port that nobody listens on": ("http://127.0.0.1:1", Fault.UNREACHABLE),
    "a label that is too long": (f"http://{'a' * 70}.example", Fault.UNSENDABLE),
    "an empty label": ("http://.example", Fault.UNSENDABLE),
    "half an IPv6 address": ("http://[::1", Fault.UNSENDABLE),
    "a port beyond all ports": ("http://127.0.0.1:99999", Fault.UNSENDABLE),
    "a space in the host": ("http://an example", Fault.UNSENDABLE),
    "no scheme": ("example.com", Fault.UNSENDABLE),
    "no host": ("http:///3.0", Fault.UNSENDABLE),
    "another scheme": ("ftp://example.com", Fault.UNSENDABLE),
    "nothing": ("", Fault.UNSENDABLE),
}


@pytest.mark.parametrize(("url", "fault"), UNREACHABLE.values(), ids=UNREACHABLE)
def test_a_url_that_leads_nowhere_is_a_fault(url: str, fault: Fault) -> None:
    with pytest.raises(Seen) as caught:
        ask(url)
    assert caught.value.fault is fault


@pytest.mark.parametrize("key", ["two\r\nlines", "\u20ac"], ids=["two lines", "not latin-1"])
def test_a_header_that_cannot_be_sent_is_a_fault_without_quoting(key: str) -> None:
    with Loopback(always(reply())) as server, pytest.raises(Seen) as caught:
        ask(server.url, key=key)
    assert key not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("fault_steps", FAULTY.values(), ids=FAULTY)
def test_no_traceback_quotes_the_key(fault_steps: tuple[Fault, list[Step]]) -> None:
    with Loopback(lambda _: fault_steps[1]) as server, pytest.raises(Seen) as caught:
        ask(server.url, key=KEY)
    assert KEY not in "".join(traceback.format_exception(caught.value))
    assert (caught.value.__cause__ is None) is (fault_steps[0] not in QUOTABLE)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("body", [None, b"[]"], ids=["GET", "POST"])
def test_a_redirect_is_an_answer_and_is_not_followed(status: int, body: bytes | None) -> None:
    with Loopback(always(reply())) as elsewhere:
        location = {"Location": f"{elsewhere.url}/stolen"}
        with Loopback(always(reply(status, headers=location))) as server:
            assert ask(server.url, body=body).status == status
    assert elsewhere.received == []


def test_a_redirect_to_nowhere_is_an_answer_too() -> None:
    with Loopback(always(reply(302, headers={"Location": "http://[::1"}))) as server:
        assert ask(server.url).status == 302


def test_no_cookie_is_kept() -> None:
    with Loopback(always(reply(headers={"Set-Cookie": "taste=sweet; Path=/"}))) as server:
        wire = Wire(limits=LIMITS, error_of=Seen)
        route = wire.route("GET", server.url, {})
        wire.send(route, "/")
        wire.send(route, "/")
        wire.close()
    assert [request.headers.get("cookie") for request in server.received] == [None, None]


def test_a_netrc_file_does_not_replace_the_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login other password other\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with Loopback(always(reply())) as server:
        requests.get(server.url, headers={"Authorization": "the key"}, timeout=2)
        ask(server.url)
    by_requests, by_wire = (request.headers["authorization"] for request in server.received)
    assert by_requests != "the key", "the file must be one that would be used"
    assert by_wire == "the key"


def test_a_user_in_the_url_does_not_replace_the_key() -> None:
    with Loopback(always(reply())) as server:
        ask(f"http://other:other@{server.address}")
    assert server.received[0].headers["authorization"] == "the key"


def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with Loopback(always(reply(200, b"by proxy"))) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        assert ask("http://nowhere.invalid", "/y?z=1").body == b"by proxy"
    assert proxy.received[0].line == "GET http://nowhere.invalid/y?z=1 HTTP/1.1"


def test_a_host_in_no_proxy_is_asked_without_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Loopback(always(reply(200, b"direct"))) as server:
        assert ask(server.url).body == b"direct"


@pytest.mark.parametrize(
    "proxy",
    [f"http://user:{KEY}@127.0.0.1:1", f"http://user:{KEY}@[::1", f"http://user:{KEY}@127.0.0.1:99999"],
    ids=["not there", "no URL", "no port"],
)
def test_a_failing_proxy_is_a_fault_without_its_password(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    with pytest.raises(Seen) as caught:
        ask("http://nowhere.invalid")
    assert caught.value.fault in (Fault.PROXY, Fault.PROXY_UNUSABLE)
    assert caught.value.variable == "HTTP_PROXY"
    assert KEY not in "".join(traceback.format_exception(caught.value))


def test_a_certificate_that_nobody_vouches_for_is_not_trusted() -> None:
    with Loopback(always(reply()), tls=True) as server, pytest.raises(Seen) as caught:
        ask(server.url)
    assert caught.value.fault is Fault.UNTRUSTED
    assert server.received == []


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_certificate_of_the_configured_bundle_is_trusted(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, str(CERTIFICATE))
    with Loopback(always(reply(200, b"trusted")), tls=True) as server:
        assert ask(server.url).body == b"trusted"


def test_a_certificate_for_another_host_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
    with Loopback(always(reply()), tls=True) as server, pytest.raises(Seen) as caught:
        ask(server.url.replace("127.0.0.1", "localhost"))
    assert (caught.value.fault, caught.value.variable) == (Fault.UNTRUSTED, "REQUESTS_CA_BUNDLE")
    assert server.received == []


@pytest.mark.parametrize(
    ("bundle", "fault"),
    [("not-there.pem", Fault.BUNDLE), ("words.pem", Fault.BUNDLE), ("", Fault.UNTRUSTED)],
    ids=["missing", "no certificates", "a folder without certificates"],
)
def test_a_bundle_that_vouches_for_nobody_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bundle: str, fault: Fault
) -> None:
    (tmp_path / "words.pem").write_text("no certificate")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / bundle))
    with Loopback(always(reply()), tls=True) as server, pytest.raises(Seen) as caught:
        ask(server.url)
    assert (caught.value.fault, caught.value.variable) == (fault, "REQUESTS_CA_BUNDLE")


def test_a_server_that_does_not_speak_tls_is_a_fault() -> None:
    with Loopback(always(Ending.CUT), greeting=reply(400)) as server, pytest.raises(Seen) as caught:
        ask(server.url.replace("http:", "https:"))
    assert caught.value.fault is Fault.TLS


def test_threads_share_connections_and_get_their_own_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
    barrier = threading.Barrier(8)
    with Loopback(lambda request: [0.001, reply(200, request.line.split()[1].encode())], tls=True) as server:
        wire = Wire(limits=LIMITS, error_of=Seen)
        route = wire.route("GET", server.url, {})

        def work(worker: int) -> bool:
            barrier.wait()
            paths = [f"/{worker}/{number}" for number in range(20)]
            return all(wire.send(route, path).body == path.encode() for path in paths)

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(work, range(8)))
        wire.close()
    assert server.connections == 8


class InProcess(BaseAdapter):
    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self._error = error

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        if self._error is not None:
            raise self._error
        response = requests.Response()
        response.status_code = 200
        response.headers["Date"] = "today"
        response._content = f"{request.method} {request.url}".encode()
        return response

    def close(self) -> None:
        pass


def test_an_adapter_may_answer_in_this_process() -> None:
    answer = ask("https://example.com/3.0/", "/ping", adapter=InProcess())
    assert (answer.body, answer.header("date")) == (b"GET https://example.com/3.0/ping", "today")


def test_an_adapter_may_fail_as_requests_does() -> None:
    with pytest.raises(Seen) as caught:
        ask("https://example.com", adapter=InProcess(requests.exceptions.ReadTimeout("slow")))
    assert caught.value.fault is Fault.SLOW


def test_what_is_unforeseen_is_a_fault_as_well() -> None:
    with pytest.raises(Seen) as caught:
        ask("https://example.com", adapter=InProcess(requests.exceptions.RequestException("?")))
    assert caught.value.fault is Fault.UNFORESEEN


def test_a_body_is_sent_with_its_length() -> None:
    with Loopback(always(reply())) as server:
        ask(server.url, body="[\u00e4]".encode())
    request = server.received[0]
    assert (request.line, request.body) == ("POST /x HTTP/1.1", "[\u00e4]".encode())
    assert request.headers["content-length"] == "4"
    assert "transfer-encoding" not in request.headers


def test_the_server_receives_the_user_agent() -> None:
    with Loopback(always(reply())) as server:
        ask(server.url)
    assert server.received[0].headers["user-agent"].startswith("importer_pipeline")


def test_a_header_is_found_whatever_its_case() -> None:
    answer = Answer(status=200, headers={"DATE": "today"}, body=b"")
    assert (answer.header("Date"), answer.header("Retry-After")) == ("today", None)


def test_neither_a_body_nor_a_key_is_in_a_repr() -> None:
    route = Wire(limits=LIMITS, error_of=Seen).route("GET", "https://example.com", {"Authorization": "sesame"})
    answer = Answer(status=200, headers={"X": "sesame"}, body=b"sesame")
    assert "sesame" not in f"{answer!r}{route!r}"


def dripping(text: bytes) -> list[Step]:
    return [step for letter in text for step in (bytes([letter]), 0.02)]


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(dripping(b"HTTP/1.1 200 " + b"O" * 500), id="a status line"),
        pytest.param(dripping(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 500), id="a header"),
        pytest.param([b"HTTP/1.1 100 Continue\r\n\r\n", 0.02] * 500, id="100 Continue"),
    ],
)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_a_head_that_drips_is_given_up_on(monkeypatch: pytest.MonkeyPatch, steps: list[Step], tls: bool) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
    limits = replace(LIMITS, answer_timeout_seconds=0.5)
    with Loopback(lambda _: steps, tls=tls) as server, pytest.raises(Seen) as caught:
        ask(server.url, limits=limits)
    assert caught.value.fault is Fault.SLOW


def test_a_server_that_never_shakes_hands_is_given_up_on() -> None:
    with Loopback(always(Ending.SILENCE)) as server, pytest.raises(Seen) as caught:
        ask(server.url.replace("http:", "https:"), limits=replace(LIMITS, answer_timeout_seconds=0.3))
    assert caught.value.fault in (Fault.SLOW, Fault.UNREACHABLE)


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([Ending.SILENCE], id="silent"),
        pytest.param(dripping(b"HTTP/1.1 200 " + b"O" * 500), id="dripping"),
        pytest.param([b"HTTP/1.1 200 OK\r\n", *dripping(b"X: y\r\n" * 90)], id="dripping headers"),
    ],
)
def test_a_proxy_that_makes_no_tunnel_is_given_up_on(monkeypatch: pytest.MonkeyPatch, steps: list[Step]) -> None:
    with Loopback(lambda _: steps) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(Seen):
            ask("https://nowhere.invalid", limits=replace(LIMITS, answer_timeout_seconds=0.5))


@pytest.mark.parametrize("body", [None, b"[]"], ids=["GET", "POST"])
@pytest.mark.parametrize("ending", [Ending.CUT, Ending.RESET], ids=lambda ending: ending.value)
def test_a_connection_that_went_while_idle_is_replaced(ending: Ending, body: bytes | None) -> None:
    served = 0

    def steps(request: Received) -> Sequence[Step]:
        nonlocal served
        served += 1
        return [ending] if served == 2 else [reply(200, b"good")]

    with Loopback(steps) as server:
        wire = Wire(limits=LIMITS, error_of=Seen)
        route = wire.route("GET" if body is None else "POST", server.url, {})
        assert [wire.send(route, "/", body=body).body for _ in range(2)] == [b"good", b"good"]
        wire.close()
    assert server.connections == 2


def test_a_new_connection_that_ends_without_an_answer_is_a_fault() -> None:
    with Loopback(always(Ending.CUT)) as server, pytest.raises(Seen) as caught:
        ask(server.url)
    assert caught.value.fault is Fault.HUNG_UP
    assert server.connections == 1


def test_an_old_connection_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "MAX_IDLE_SECONDS", 0.0)
    with Loopback(always(reply(200, b"good"))) as server:
        wire = Wire(limits=LIMITS, error_of=Seen)
        route = wire.route("GET", server.url, {})
        assert [wire.send(route, "/").body for _ in range(2)] == [b"good", b"good"]
        wire.close()
    assert server.connections == 2


@pytest.mark.parametrize("surplus", [reply(200, b"unasked"), b"x", b"x" * 100_000], ids=["answer", "letter", "much"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_what_follows_an_answer_is_not_the_next_one(monkeypatch: pytest.MonkeyPatch, surplus: bytes, tls: bool) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
    with Loopback(lambda request: [reply(200, request.line.encode()) + surplus], tls=tls) as server:
        wire = Wire(limits=LIMITS, error_of=Seen)
        route = wire.route("GET", server.url, {})
        bodies = [wire.send(route, f"/{number}").body for number in range(3)]
        wire.close()
    assert bodies == [f"GET /{number} HTTP/1.1".encode() for number in range(3)]
    assert server.connections == 3


def test_a_limit_of_one_request_is_kept() -> None:
    with Loopback(always(reply(200, b"x" * 1000))) as server:
        wire = Wire(limits=LIMITS, error_of=Seen)
        route = wire.route("GET", server.url, {})
        assert len(wire.send(route, "/", limit_bytes=1000).body) == 1000
        with pytest.raises(Seen) as caught:
            wire.send(route, "/", limit_bytes=999)
        wire.close()
    assert caught.value.fault is Fault.TOO_LARGE


BAD_PROXIES = {
    "an unknown scheme": f"ftp://user:{KEY}@127.0.0.1:1",
    "no host": "http://",
    "half an address": f"http://user:{KEY}@[::1",
    "no port": f"http://user:{KEY}@127.0.0.1:99999",
    "a port in words": f"http://user:{KEY}@127.0.0.1:many",
    "SOCKS of an unknown version": f"socks9://user:{KEY}@127.0.0.1:1",
    "a user who cannot be sent": f"http://\u20ac:{KEY}@127.0.0.1:1",
}


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize("proxy", BAD_PROXIES.values(), ids=BAD_PROXIES)
def test_a_proxy_that_cannot_be_used_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, proxy: str, variable: str
) -> None:
    monkeypatch.setenv(variable, proxy)
    with pytest.raises(Seen) as caught:
        ask("https://nowhere.invalid")
    assert (caught.value.fault, caught.value.variable) == (Fault.PROXY_UNUSABLE, variable)
    assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("status", "faults"),
    [(407, {"http": Fault.PROXY_UNUSABLE, "https": Fault.PROXY_UNUSABLE}), (503, {"https": Fault.PROXY})],
)
def test_a_proxy_that_refuses(
    monkeypatch: pytest.MonkeyPatch, scheme: str, status: int, faults: dict[str, Fault]
) -> None:
    with Loopback(always(reply(status), Ending.CUT)) as proxy:
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", proxy.url)
        if scheme not in faults:
            assert ask(f"{scheme}://nowhere.invalid").status == status
            return
        with pytest.raises(Seen) as caught:
            ask(f"{scheme}://nowhere.invalid")
    assert (caught.value.fault, caught.value.variable) == (faults[scheme], f"{scheme.upper()}_PROXY")


def test_an_address_that_failed_is_tried_last_for_a_while() -> None:
    found = [(0, 0, 0, "", ("::1", 443)), (0, 0, 0, "", ("127.0.0.1", 443))]
    addresses = Addresses()
    addresses.failed(("::1", 443), 0.0)
    assert addresses.sorted(found, 1.0) == found[::-1]
    assert addresses.sorted(found, 10_000.0) == found
    addresses.failed(("::1", 443), 10_000.0)
    addresses.reached(("::1", 443))
    assert addresses.sorted(found, 10_001.0) == found


def test_a_route_to_nowhere_is_tried_once_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "ADDRESSES", Addresses())
    with Loopback(always(reply(200, b"good"), Ending.CUT)) as server:
        port = int(server.address.rpartition(":")[2])
        nowhere, here = ("127.0.0.9", port), ("127.0.0.1", port)
        tried: list[object] = []
        real = socket.socket.connect

        def connect(self: socket.socket, address: object) -> None:
            tried.append(address)
            real(self, address)  # pyright: ignore[reportArgumentType]

        monkeypatch.setattr(socket.socket, "connect", connect)
        both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in (nowhere, here)]

        def look_up(*_args: object, **_more: object) -> list[tuple[Any, ...]]:
            return list(both)

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        assert [ask(server.url).body for _ in range(3)] == [b"good"] * 3
    assert tried == [nowhere, here, here, here]


def test_a_route_goes_by_the_environment_of_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire(limits=LIMITS, error_of=Seen)
    before = wire.route("GET", "https://api.example.com/3.0", {})
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.com:3128")
    after = wire.route("GET", "https://api.example.com/3.0", {})
    monkeypatch.setenv("NO_PROXY", "example.com")
    exempted = wire.route("GET", "https://api.example.com/3.0", {})
    assert [route.proxies.get("https") for route in (before, after, exempted)] == [
        None,
        "http://proxy.example.com:3128",
        None,
    ]
