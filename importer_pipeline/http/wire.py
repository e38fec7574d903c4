"""HTTP for both API clients: sends a request, reads the whole answer, classifies every failure.

Holds timeouts, size limits, and the environment's proxies and certificate bundles. Stays out: the connections
(`connections.py`), the table of faults (`faults.py`), the meaning of a status or a body (`mailchimp/`, `target/`),
retries, pauses and the number of requests at once (`engine/`).

A request has the headers it is given and no others: no cookie is kept, no redirect followed, no netrc file read, so a
key goes to its own server only. Proxies and certificate bundles of the environment are respected.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import requests
import urllib3
from requests.utils import select_proxy
from urllib3.util import parse_url

from importer_pipeline.errors import ImporterError
from importer_pipeline.exhaustion import exhaustion_of
from importer_pipeline.http.connections import Adapter, Connections
from importer_pipeline.http.faults import OF_THE_BUNDLE, OF_THE_PROXY, QUOTABLE, TRANSPORT, Fault, GivenUp, fault_of
from importer_pipeline.http.sockets import Exchange, carrying

_CONSULTED = tuple(
    spelled
    for name in (
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "no_proxy",
        "requests_ca_bundle",
        "curl_ca_bundle",
        "request_method",
    )
    for spelled in (name, name.upper())
)
"""Environment variables that affect how a request is sent."""

_CHUNK_BYTES = 128 * 1024
_OVERHEAD = 2  # Of a body sent in small chunks.


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A complete HTTP response.

    Attributes:
        status: the HTTP status.
        headers: the headers; `header` ignores the case of their names.
        body: the body, decompressed. Not in the repr: it holds personal data.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    def header(self, name: str) -> str | None:
        """Return the value of a header, whatever the case of its name."""
        wanted = name.lower()
        return next((value for key, value in self.headers.items() if key.lower() == wanted), None)

    def retry_after_seconds(self, now: float) -> float | None:
        """Return the wait before the next request, if the answer asks for one."""
        said = self.header("retry-after")
        try:
            if said is None:
                return None
            seconds = float(said) if said.isdecimal() else parsedate_to_datetime(said).timestamp() - now
        except (ValueError, OverflowError):
            return None
        return min(max(seconds, 0.0), 86_400.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Timeouts and size limits for one server.

    Attributes:
        connect_timeout_seconds: for connecting.
        read_timeout_seconds: maximum silence while waiting for an answer or reading it.
        answer_timeout_seconds: from connecting to the last byte of the answer, whatever the server does.
        body_limit_bytes: maximum size of a body, decompressed.
    """

    connect_timeout_seconds: float
    read_timeout_seconds: float
    answer_timeout_seconds: float
    body_limit_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A server's URL with everything that its requests share.

    Attributes:
        template: the request to send, without path and body. Not in the repr: it contains the key.
        base_url: the prefix of each request's path.
        verify: True, or the certificate bundle that the environment names.
        proxies: by scheme, from the environment. Not in the repr: they may contain a password.
        proxy: the one in force; None for none. Not in the repr, either.
        proxy_variable: the environment variable that names the proxy in force; "" for none.
        bundle_variable: the environment variable that names the certificate bundle; "" for none.
    """

    template: requests.PreparedRequest = field(repr=False)
    base_url: str
    verify: bool | str
    proxies: dict[str, str] = field(repr=False)
    proxy: str | None = field(repr=False)
    proxy_variable: str
    bundle_variable: str


class Wire:
    """Sends requests and reads their answers; safe to use from several threads.

    Args:
        limits: timeouts and size limits.
        error_of: returns the error to raise for a fault, in the words of the API; gets the name of the environment
            variable involved, or "".
        adapter: sends the requests; None for connections of its own.
    """

    def __init__(
        self, *, limits: Limits, error_of: Callable[[Fault, str], ImporterError], adapter: Adapter | None = None
    ) -> None:
        self._limits = limits
        self._error_of = error_of
        self._adapter = adapter or Connections()
        self._is_closed = False

    def route(self, method: str, base_url: str, headers: Mapping[str, str]) -> Route:
        """Prepare the common part of the requests to one URL; raise `error_of`'s error if the URL is invalid."""
        try:
            common = _common_route(method, base_url.rstrip("/"), tuple(os.environ.get(name) for name in _CONSULTED))
        except TRANSPORT as error:
            raise self._error_of(fault_of(error), "") from None
        if isinstance(self._adapter, Connections) and not self._adapter.can_use(common.proxy):
            raise self._error_of(Fault.PROXY_UNUSABLE, common.proxy_variable)
        template = common.template.copy()
        template.headers.update(headers)  # Last, so that a user and password in the URL can't replace ours.
        return replace(common, template=template)

    def send(
        self,
        route: Route,
        path: str,
        *,
        body: bytes | None = None,
        limit_bytes: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request and read its answer to the end, whatever its status.

        Args:
            route: the server and the headers.
            path: path and query, encoded; appended to the route's URL.
            body: the body; None for none.
            limit_bytes: maximum size of the answer's body, decompressed, if lower than the usual limit.
            headers: headers of this request alone.

        Raises:
            ImporterError: by `error_of`, for a fault.
        """
        request = route.template.copy()
        request.url = f"{route.base_url}{path}"
        if body is not None:
            request.body = body
            request.headers["Content-Length"] = str(len(body))
        if headers:
            request.headers.update(headers)
        limit_bytes = min(limit_bytes or self._limits.body_limit_bytes, self._limits.body_limit_bytes)
        exchange = Exchange(
            deadline=time.monotonic() + self._limits.answer_timeout_seconds, limit_bytes=_OVERHEAD * limit_bytes
        )
        try:
            return self._exchange(request, route, exchange, limit_bytes)
        except TRANSPORT as error:
            if (exhausted := exhaustion_of(error)) is not None:
                raise exhausted from None
            fault = fault_of(error)
            if fault is Fault.HUNG_UP and exchange.reused and not exchange.received:
                # A router dropped the connection, or the server closed it while it was idle: not a failed attempt.
                return self._send_again(request, route, exchange, limit_bytes)
            raise self._error(fault, route) from (error if fault in QUOTABLE else None)

    def close(self) -> None:
        """Close the connections that are not in use; those that others share, as the last one that uses them."""
        if not self._is_closed:
            self._is_closed = True
            self._adapter.close()

    def _send_again(
        self, request: requests.PreparedRequest, route: Route, exchange: Exchange, limit_bytes: int
    ) -> Answer:
        exchange.fresh = True
        try:
            return self._exchange(request, route, exchange, limit_bytes)
        except TRANSPORT as error:
            fault = fault_of(error)
            raise self._error(fault, route) from (error if fault in QUOTABLE else None)

    def _error(self, fault: Fault, route: Route) -> ImporterError:
        if fault in OF_THE_PROXY:
            return self._error_of(fault, route.proxy_variable)
        return self._error_of(fault, route.bundle_variable if fault in OF_THE_BUNDLE else "")

    def _exchange(
        self, request: requests.PreparedRequest, route: Route, exchange: Exchange, limit_bytes: int
    ) -> Answer:
        with carrying(exchange):
            response = self._adapter.send(
                request,
                stream=True,
                timeout=(self._limits.connect_timeout_seconds, self._limits.read_timeout_seconds),
                verify=route.verify,
                proxies=route.proxies,
            )
            try:
                body = _read(response, deadline=exchange.deadline, limit_bytes=limit_bytes)
            finally:
                response.close()
        if response.status_code == 407 and route.proxy_variable:
            raise GivenUp(Fault.PROXY_UNUSABLE)
        return Answer(status=response.status_code, headers=response.headers, body=body)


def _read(response: requests.Response, *, deadline: float, limit_bytes: int) -> bytes:
    """Read the body as it arrives: a read of a fixed size would wait for a dripping server without end."""
    raw = response.raw
    if not isinstance(raw, urllib3.HTTPResponse):
        return response.content  # From an adapter that answers in this process.
    if "," in raw.headers.get("content-encoding", ""):
        raise GivenUp(Fault.CUT)  # Compressed several times, which was not requested.
    chunks: list[bytes] = []
    size = 0
    while chunk := raw.read1(_CHUNK_BYTES, decode_content=True):
        chunks.append(chunk)
        size += len(chunk)
        if size > limit_bytes:
            raise GivenUp(Fault.TOO_LARGE)
        if time.monotonic() > deadline:
            raise GivenUp(Fault.SLOW)
    return b"".join(chunks)


@lru_cache(maxsize=1024)
def _common_route(method: str, base_url: str, values: tuple[str | None, ...]) -> Route:
    """Return the route without the headers of its requests: mostly one for many clients.

    Args:
        method: of its requests.
        base_url: the prefix of each request's path.
        values: those of the consulted variables, for which it is valid.
    """
    template = requests.Request(method, base_url, headers=dict(_COMMON_HEADERS)).prepare()
    url = parse_url(base_url)
    settings = _settings_by(f"{url.scheme}://{url.netloc}", values)
    verify, proxies = settings["verify"], dict(settings["proxies"] or {})
    proxy = select_proxy(base_url, proxies)
    return Route(
        template=template,
        base_url=base_url,
        verify=verify if isinstance(verify, str) else True,
        proxies=proxies,
        proxy=proxy,
        proxy_variable=_proxy_variable(base_url) if proxy else "",
        bundle_variable=_first_set("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    )


@lru_cache(maxsize=1024)
def _settings_by(origin: str, values: tuple[str | None, ...]) -> Mapping[str, Any]:
    """Return the environment's settings for requests to a server: `proxies` and `verify`, as in `requests`."""
    # `requests` reads all environment variables, which is slow where each client has some of its own.
    with requests.Session() as session:
        return session.merge_environment_settings(origin, {}, True, None, None)


def _proxy_variable(url: str) -> str:
    scheme = url.partition(":")[0].lower()
    return _first_set(f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY")


def _first_set(*names: str) -> str:
    return next((name for name in names if os.environ.get(name)), "")


def _user_agent() -> str:
    try:
        return f"importer_pipeline/{version('importer_pipeline')}"
    except PackageNotFoundError:
        return "importer_pipeline"


_COMMON_HEADERS = {
    "User-Agent": _user_agent(),
    "Accept": "application/json",
    "Accept-Encoding": "gzip, deflate",
    "Connection": "keep-alive",
}
