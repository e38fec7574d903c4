"""The shipped proxy in front of Dagster's webserver: it lets the UI command Dagster, and nobody else."""

import http.client
import json
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import dagster as dg
import pytest
from requests.auth import _basic_auth_str  # pyright: ignore[reportPrivateUsage]
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from importer_pipeline_tests.support.deployed import deployed_environment
from importer_pipeline_tests.support.loopback import free_port
from importer_pipeline_tests.support.patience import until
from importer_pipeline_tests.support.processes import Processes
from importer_pipeline_tests.support.proxied import PASSWORD, USER, Proxy
from importer_pipeline_tests.support.runs import dagster_home
from importer_pipeline_tests.support.served import Ui

KNOWN = {"Authorization": _basic_auth_str(USER, PASSWORD)}
JSON = {"Content-Type": "application/json"}
FOREIGN = {"Origin": "https://elsewhere.example"}


@dataclass(frozen=True, kw_only=True)
class Guarded:
    """A webserver, and the proxy in front of it.

    Attributes:
        instance: the instance of the webserver.
        webserver: its own URL, which users should not reach.
        proxy: its URL.
    """

    instance: dg.DagsterInstance
    webserver: str
    proxy: str

    def limit(self, pool: str) -> str:
        """Return a mutation whose effect can be observed: it sets a limit."""
        return f'mutation {{ setConcurrencyLimit(concurrencyKey: "{pool}", limit: 7) }}'

    def is_done(self, pool: str) -> bool:
        """Return whether the mutation has been executed."""
        limits = {it.name: it.limit for it in self.instance.event_log_storage.get_pool_limits()}
        return limits.get(pool) == 7


@dataclass(frozen=True, kw_only=True)
class Said:
    """An answer."""

    status: int
    body: bytes


def ask(url: str, method: str, path: str, *, headers: Mapping[str, str], body: str = "") -> Said:
    """Send a request exactly as given."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    try:
        connection.request(method, path, body=body.encode() or None, headers=dict(headers))
        answer = connection.getresponse()
        return Said(status=answer.status, body=answer.read())
    finally:
        connection.close()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("proxied")
    home = dagster_home(folder)
    url = f"http://127.0.0.1:{free_port()}"
    with dg.DagsterInstance.from_config(str(home)) as instance, Processes(folder) as processes:
        instance.get_runs()
        instance.event_log_storage.get_pool_limits()
        command = ["dagster-webserver", "-m", "importer_pipeline", "-p", str(urlsplit(url).port)]
        processes.start("webserver", command, deployed_environment() | {"DAGSTER_HOME": str(home)})
        proxy = Proxy(processes, folder, webserver=urlsplit(url).netloc)
        proxy.start()
        until(lambda: Ui(url).answers)
        yield Guarded(instance=instance, webserver=url, proxy=proxy.url)


def test_without_the_proxy_any_page_s_image_commands_dagster(guarded: Guarded) -> None:
    """A password alone is not enough: a browser sends it along with requests of another site's page."""
    path = f"/graphql?query={quote(guarded.limit('bare'))}"
    ask(guarded.webserver, "GET", path, headers={**FOREIGN, "Host": "elsewhere.example"})
    assert guarded.is_done("bare")


@pytest.mark.parametrize("headers", [{}, {"Authorization": _basic_auth_str(USER, "other")}], ids=["none", "wrong"])
@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("GET", "/server_info"), ("POST", "/graphql")])
def test_without_the_password_there_is_nothing(
    guarded: Guarded, method: str, path: str, headers: Mapping[str, str]
) -> None:
    body = json.dumps({"query": guarded.limit("unknown")})
    assert ask(guarded.proxy, method, path, headers={**headers, **JSON}, body=body).status == 401
    assert not guarded.is_done("unknown")


@pytest.mark.parametrize(
    "path",
    [
        "/graphql", "//graphql", "/graphql/", "/./graphql", "/x/../graphql", "/%67raphql", "/GraphQL", "/graphql%3f",
        "/report_asset_materialization/a", "//report_asset_check/a",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_no_link_commands_anything(guarded: Guarded, method: str, path: str) -> None:
    pool = f"{method} {path}"
    target = f"{path}?query={quote(guarded.limit(pool))}"
    assert ask(guarded.proxy, method, target, headers=KNOWN).status == 405
    assert not guarded.is_done(pool)


@pytest.mark.parametrize(
    "origin", ["https://elsewhere.example", "null", "http://localhost", "http://localhost.example"]
)
def test_a_page_of_another_site_commands_nothing(guarded: Guarded, origin: str) -> None:
    body = json.dumps({"query": guarded.limit(origin)})
    headers = {**KNOWN, **JSON, "Origin": origin}
    assert ask(guarded.proxy, "POST", "/graphql", headers=headers, body=body).status == 403
    assert not guarded.is_done(origin)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_no_form_commands_anything(guarded: Guarded, kind: str) -> None:
    headers = {**KNOWN, "Content-Type": kind} if kind else KNOWN
    target = f"/graphql?query={quote(guarded.limit(kind))}"
    body = json.dumps({"query": guarded.limit(kind)})
    assert ask(guarded.proxy, "POST", target, headers=headers, body=body).status == 405
    assert not guarded.is_done(kind)


@pytest.mark.parametrize(
    "host", ["elsewhere.example", "elsewhere.example:3000", "localhost.elsewhere.example", "[::1]"]
)
@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("POST", "/graphql")])
def test_another_host_name_gets_nothing(guarded: Guarded, host: str, method: str, path: str) -> None:
    """Anybody's host name may resolve to this machine, and a page under that name then counts as the same site."""
    headers = {**KNOWN, **JSON, "Host": host, "Origin": f"http://{host}"}
    body = json.dumps({"query": guarded.limit(host)})
    assert ask(guarded.proxy, method, path, headers=headers, body=body).status == 421
    assert not guarded.is_done(host)


def test_the_ui_commands(guarded: Guarded) -> None:
    own = {**KNOWN, "Origin": guarded.proxy}
    page = ask(guarded.proxy, "GET", "/runs", headers=KNOWN)
    assert (page.status, b"<html" in page.body) == (200, True)
    body = json.dumps({"query": guarded.limit("ours")})
    said = ask(guarded.proxy, "POST", "/graphql", headers={**own, **JSON}, body=body)
    assert (said.status, json.loads(said.body)) == (200, {"data": {"setConcurrencyLimit": True}})
    assert guarded.is_done("ours")


def websocket(guarded: Guarded, *, origin: str, headers: Mapping[str, str] = KNOWN) -> str:
    """Return Dagster's first message to a subscriber."""
    url = guarded.proxy.replace("http", "ws") + "/graphql"
    with connect(
        url, origin=Origin(origin), additional_headers=headers, subprotocols=[Subprotocol("graphql-ws")], proxy=None
    ) as socket:
        socket.send(json.dumps({"type": "connection_init"}))
        return json.loads(socket.recv())["type"]


def test_the_ui_subscribes(guarded: Guarded) -> None:
    assert websocket(guarded, origin=guarded.proxy) == "connection_ack"


@pytest.mark.parametrize(
    ("origin", "headers", "status"),
    [("https://elsewhere.example", KNOWN, 403), ("", {}, 401)],
    ids=["another site's page", "without the password"],
)
def test_nobody_else_subscribes(guarded: Guarded, origin: str, headers: Mapping[str, str], status: int) -> None:
    with pytest.raises(InvalidStatus) as caught:
        websocket(guarded, origin=origin or guarded.proxy, headers=headers)
    assert caught.value.response.status_code == status


def test_a_name_brings_tls_and_no_other_name_passes(tmp_path: Path) -> None:
    """The certificate is Caddy's own: one from an authority needs a public name."""
    port = free_port()
    with Processes(tmp_path) as processes:
        proxy = Proxy(processes, tmp_path, webserver="127.0.0.1:9")
        proxy.start(IMPORTER_UI_ADDRESS=f"https://localhost:{port}")
        (root,) = tmp_path.rglob("root.crt")
        context = ssl.create_default_context(cafile=str(root))

        def status(host: str) -> int:
            connection = http.client.HTTPSConnection(f"localhost:{port}", context=context)
            try:
                connection.request("GET", "/", headers={"Host": host})
                return connection.getresponse().status
            finally:
                connection.close()

        assert status(f"localhost:{port}") == 401
        assert status("elsewhere.example") >= 400
        plain = ask(proxy.url, "GET", "/runs", headers={"Host": "localhost"})
        assert plain.status == 308
