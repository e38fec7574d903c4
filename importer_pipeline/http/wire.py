"""HTTP for both API clients: sends a request, reads the whole answer, classifies every failure.

Holds pooled connections for several threads, timeouts, size limits, certificates, proxies. Stays out: the table of
faults (`faults.py`), the meaning of a status or a body (`mailchimp/`, `target/`), retries, pauses and the number of
connections (`engine/`).

A request has the headers it is given and no others: no cookie is kept, no redirect followed, no netrc file read, so a
key goes to its own server only. Proxies and certificate bundles of the environment are respected.
"""

import os
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import requests
import urllib3
from requests.adapters import DEFAULT_CA_BUNDLE_PATH, BaseAdapter, HTTPAdapter
from requests.utils import prepend_scheme_if_needed, select_proxy
from urllib3.util import parse_url

from importer_pipeline.errors import ImporterError
from importer_pipeline.exhaustion import exhaustion_of
from importer_pipeline.http.faults import OF_THE_BUNDLE, OF_THE_PROXY, QUOTABLE, TRANSPORT, Fault, GivenUp, fault_of
from importer_pipeline.http.sockets import POOLS, Exchange, carrying

Adapter = BaseAdapter
"""Sends requests: over the network, or to the sandbox in this process."""

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
        connections: number of connections kept open. More may be used at once; they are closed afterwards.
    """

    connect_timeout_seconds: float
    read_timeout_seconds: float
    answer_timeout_seconds: float
    body_limit_bytes: int
    connections: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A server's URL with everything that its requests share.

    Attributes:
        template: the request to send, without path and body. Not in the repr: it contains the key.
        base_url: the prefix of each request's path.
        verify: True, or the certificate bundle that the environment names.
        proxies: by scheme, from the environment. Not in the repr: they may contain a password.
        proxy_variable: the environment variable that names the proxy in force; "" for none.
        bundle_variable: the environment variable that names the certificate bundle; "" for none.
    """

    template: requests.PreparedRequest = field(repr=False)
    base_url: str
    verify: bool | str
    proxies: dict[str, str] = field(repr=False)
    proxy_variable: str
    bundle_variable: str


class Wire:
    """Sends requests and reads their answers; safe to use from several threads.

    Args:
        limits: timeouts and size limits.
        error_of: returns the error to raise for a fault, in the words of the API; gets the name of the environment
            variable involved, or "".
        adapter: sends the requests; None for the network.
    """

    def __init__(
        self, *, limits: Limits, error_of: Callable[[Fault, str], ImporterError], adapter: Adapter | None = None
    ) -> None:
        self._limits = limits
        self._error_of = error_of
        self._adapter = adapter or _Connections(pool_connections=2, pool_maxsize=limits.connections)

    def route(self, method: str, base_url: str, headers: Mapping[str, str]) -> Route:
        """Prepare the common part of the requests to one URL; raise `error_of`'s error if the URL is invalid."""
        base_url = base_url.rstrip("/")
        try:
            template = requests.Request(method, base_url, headers=dict(_COMMON_HEADERS)).prepare()
            template.headers.update(headers)  # Last, so that a user and password in the URL can't replace ours.
            settings = _settings_for(base_url)
        except TRANSPORT as error:
            raise self._error_of(fault_of(error), "") from None
        verify, proxies = settings["verify"], dict(settings["proxies"] or {})
        route = Route(
            template=template,
            base_url=base_url,
            verify=verify if isinstance(verify, str) else True,
            proxies=proxies,
            proxy_variable=_proxy_variable(base_url) if select_proxy(base_url, proxies) else "",
            bundle_variable=_first_set("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
        )
        if isinstance(self._adapter, _Connections) and not self._adapter.can_use(select_proxy(base_url, proxies)):
            raise self._error_of(Fault.PROXY_UNUSABLE, route.proxy_variable)
        return route

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
        """Close the connections that are not in use."""
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


def _settings_for(base_url: str) -> Mapping[str, Any]:
    """Return the environment's settings for requests to a URL: `proxies` and `verify`, as in `requests`."""
    url = parse_url(base_url)
    values = tuple(os.environ.get(name) for name in _CONSULTED)
    return _settings_by(f"{url.scheme}://{url.netloc}", values)


@lru_cache(maxsize=1024)
def _settings_by(origin: str, values: tuple[str | None, ...]) -> Mapping[str, Any]:
    # `requests` reads all environment variables, which is slow where each client has some of its own.
    with requests.Session() as session:
        return session.merge_environment_settings(origin, {}, True, None, None)


def _proxy_variable(url: str) -> str:
    scheme = url.partition(":")[0].lower()
    return _first_set(f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY")


def _first_set(*names: str) -> str:
    return next((name for name in names if os.environ.get(name)), "")


class _Connections(HTTPAdapter):
    """The adapter of `requests`, with the certificates loaded once per process.

    The original loads them for each connection: 27 ms of CPU (more than a page of a thousand contacts) and 0.7 MB.
    """

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Use connections that end by a deadline."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        """Use connections that end by a deadline, through a proxy too; SOCKS has its own."""
        manager = super().proxy_manager_for(proxy, **proxy_kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = POOLS
        return manager

    def can_use(self, proxy: str | None) -> bool:
        """Return whether a proxy can be used, judged by its URL."""
        try:
            if proxy is not None:
                url = str(prepend_scheme_if_needed(proxy, "http"))
                return bool(parse_url(url).host and self.proxy_manager_for(url))
        except TRANSPORT:
            return False
        return True

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[Any, Any]:
        """Pass the shared TLS context to the pool, instead of the names of certificate files."""
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        if host["scheme"] != "https":
            return host, pool
        bundle = verify if isinstance(verify, str) else DEFAULT_CA_BUNDLE_PATH
        return host, {"cert_reqs": "CERT_REQUIRED", "ssl_context": _tls_context(bundle)}

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Leave the pool as it is: its context verifies."""


class _TLSContext(ssl.SSLContext):
    """A client's context that threads can share.

    urllib3 sets the protocols for each connection, which frees memory that another thread's handshake may be copying
    at that moment. They are always the same, so they are set once.
    """

    _protocols: tuple[str, ...] = ()

    def set_alpn_protocols(self, alpn_protocols: Any) -> None:
        """Set the protocols, unless they are set already."""
        if tuple(alpn_protocols) != self._protocols:
            super().set_alpn_protocols(alpn_protocols)
            self._protocols = tuple(alpn_protocols)


@cache
def _tls_context(bundle: str) -> ssl.SSLContext:
    context = _TLSContext(ssl.PROTOCOL_TLS_CLIENT)
    context.hostname_checks_common_name = False
    context.set_alpn_protocols(["http/1.1"])
    is_folder = os.path.isdir(bundle)
    try:
        context.load_verify_locations(cafile=None if is_folder else bundle, capath=bundle if is_folder else None)
    except (OSError, ValueError):
        raise GivenUp(Fault.BUNDLE) from None
    return context


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
