"""HTTP as both APIs need it: one request sent, its answer read whole, every way to fail put into a few words.

Here: pooled connections that several threads share, time-outs, bounds, certificates, proxies. Stays out: what failed
(`faults.py`), what a status or a body means (`mailchimp.py`, `target.py`), tries, pauses and the count of connections
(`sync.py`).

A request carries the headers it is given and nothing else: no cookie is kept, no redirect is followed, no netrc file is
read, so a key goes to its own server only. Proxies and certificate bundles of the environment are respected.
"""

import os
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import requests
import urllib3
from requests.adapters import DEFAULT_CA_BUNDLE_PATH, BaseAdapter, HTTPAdapter

from importer_pipeline.errors import ImporterError
from importer_pipeline.faults import QUOTABLE, TRANSPORT, Fault, GivenUp, fault_of

_PIECE_BYTES = 128 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server answered, read to its end.

    Attributes:
        status: the HTTP status.
        headers: the headers; see `header` for a look-up that ignores case.
        body: the body, decompressed. Not in the repr: it holds personal data.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    def header(self, name: str) -> str | None:
        """The value of a header, whatever the case of its name."""
        wanted = name.lower()
        return next((value for key, value in self.headers.items() if key.lower() == wanted), None)

    def retry_after_seconds(self, now: float) -> float | None:
        """How long to wait before the next request, if the answer says so."""
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
    """How long and how much one server may take.

    Attributes:
        connect_timeout_seconds: until a connection stands.
        read_timeout_seconds: of silence, while an answer is awaited or read.
        answer_timeout_seconds: from the request to the last byte of the answer, however steadily it drips.
        body_limit_bytes: of an answer, decompressed.
        connections: kept open to the server. More may be used at once; they are closed afterwards.
    """

    connect_timeout_seconds: float
    read_timeout_seconds: float
    answer_timeout_seconds: float
    body_limit_bytes: int
    connections: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One server's URL with all that stays the same between requests to it.

    Attributes:
        template: the request as it is sent, without path and body. Not in the repr: it holds the key.
        base_url: what a request's path is put behind.
        verify: True, or the certificate bundle that the environment names.
        proxies: by scheme, from the environment. Not in the repr: they may hold a password.
    """

    template: requests.PreparedRequest = field(repr=False)
    base_url: str
    verify: bool | str
    proxies: dict[str, str] = field(repr=False)


class Wire:
    """Sends requests and reads their answers; safe to use from several threads.

    Args:
        limits: how long and how much an answer may take.
        error_of: the error to raise for a fault, in the words of the API that is spoken to.
        adapter: what carries the requests; None for the network.
    """

    def __init__(
        self, *, limits: Limits, error_of: Callable[[Fault], ImporterError], adapter: BaseAdapter | None = None
    ) -> None:
        self._limits = limits
        self._error_of = error_of
        self._adapter = adapter or _Connections(pool_connections=2, pool_maxsize=limits.connections)

    def route(self, method: str, base_url: str, headers: Mapping[str, str]) -> Route:
        """Prepare what is common to the requests to one URL; raises `error_of`'s error if the URL can't be one."""
        base_url = base_url.rstrip("/")
        try:
            template = requests.Request(method, base_url, headers=dict(_COMMON_HEADERS)).prepare()
            template.headers.update(headers)  # Last, so that a user and password in the URL can't replace ours.
            with requests.Session() as session:
                settings = session.merge_environment_settings(base_url, {}, True, None, None)
        except TRANSPORT as error:
            raise self._error_of(fault_of(error)) from None
        verify = settings["verify"]
        return Route(
            template=template,
            base_url=base_url,
            verify=verify if isinstance(verify, str) else True,
            proxies=dict(settings["proxies"] or {}),
        )

    def send(self, route: Route, path: str, *, body: bytes | None = None) -> Answer:
        """Send one request and read its answer to the end, whatever its status.

        Args:
            route: where to, and with which headers.
            path: put behind the route's URL: path and query, encoded.
            body: what to send; None for nothing.

        Raises:
            ImporterError: what `error_of` makes of a fault.
        """
        request = route.template.copy()
        request.url = f"{route.base_url}{path}"
        if body is not None:
            request.body = body
            request.headers["Content-Length"] = str(len(body))
        try:
            return self._exchange(request, route)
        except TRANSPORT as error:
            fault = fault_of(error)
            raise self._error_of(fault) from (error if fault in QUOTABLE else None)

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._adapter.close()

    def _exchange(self, request: requests.PreparedRequest, route: Route) -> Answer:
        limits = self._limits
        deadline = time.monotonic() + limits.answer_timeout_seconds
        response = self._adapter.send(
            request,
            stream=True,
            timeout=(limits.connect_timeout_seconds, limits.read_timeout_seconds),
            verify=route.verify,
            proxies=route.proxies,
        )
        try:
            body = _read(response, deadline=deadline, limit_bytes=limits.body_limit_bytes)
        finally:
            response.close()
        return Answer(status=response.status_code, headers=response.headers, body=body)


def _read(response: requests.Response, *, deadline: float, limit_bytes: int) -> bytes:
    """The body, taken as it comes: a read of a given size would wait for a dripping server without end."""
    raw = response.raw
    if not isinstance(raw, urllib3.HTTPResponse):
        return response.content  # An adapter that answers in this process.
    pieces: list[bytes] = []
    size = 0
    while piece := raw.read1(_PIECE_BYTES, decode_content=True):
        pieces.append(piece)
        size += len(piece)
        if size > limit_bytes:
            raise GivenUp(Fault.TOO_LARGE)
        if time.monotonic() > deadline:
            raise GivenUp(Fault.SLOW)
    return b"".join(pieces)


class _Connections(HTTPAdapter):
    """The adapter of `requests`, with the certificates loaded once in a process.

    As it stands, it loads them for each connection: 27 ms of CPU (a page of a thousand contacts costs less) and 0.7 MB.
    """

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[Any, Any]:
        """Hand the shared TLS context to the pool, in place of the names of certificate files."""
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        if host["scheme"] != "https":
            return host, pool
        bundle = verify if isinstance(verify, str) else DEFAULT_CA_BUNDLE_PATH
        return host, {"cert_reqs": "CERT_REQUIRED", "ssl_context": _tls_context(bundle)}

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Leave the pool as it is: its context verifies."""


class _TLSContext(ssl.SSLContext):
    """A client's context that threads can share.

    urllib3 sets the protocols again for each connection, which frees memory that another thread's handshake may be
    copying at that moment. They are always the same, so once is enough.
    """

    _protocols: tuple[str, ...] = ()

    def set_alpn_protocols(self, alpn_protocols: Any) -> None:
        """Set the protocols unless these are set already."""
        if tuple(alpn_protocols) != self._protocols:
            super().set_alpn_protocols(alpn_protocols)
            self._protocols = tuple(alpn_protocols)


@cache
def _tls_context(bundle: str) -> ssl.SSLContext:
    context = _TLSContext(ssl.PROTOCOL_TLS_CLIENT)
    context.hostname_checks_common_name = False
    context.set_alpn_protocols(["http/1.1"])
    is_folder = os.path.isdir(bundle)
    context.load_verify_locations(cafile=None if is_folder else bundle, capath=bundle if is_folder else None)
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
