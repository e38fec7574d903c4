"""The connections to servers: the adapters that carry requests, with their TLS contexts.

Stays out: what is sent and read over them (`wire.py`), and how they end by a deadline (`sockets.py`).
"""

import os
import ssl
import threading
from functools import cache
from typing import Any

import requests
from requests.adapters import DEFAULT_CA_BUNDLE_PATH, BaseAdapter, HTTPAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import prepend_scheme_if_needed
from urllib3.util import parse_url

from importer_pipeline.http.faults import TRANSPORT, Fault, GivenUp
from importer_pipeline.http.hosts import host_of
from importer_pipeline.http.sockets import POOLS

Adapter = BaseAdapter
"""Sends requests: over the network, or to the sandbox in this process."""


class Connections(HTTPAdapter):
    """The adapter of `requests`, with the certificates loaded once per process, and as many connections as are in use.

    The original loads the certificates for each connection: 27 ms of CPU (more than a page of a thousand contacts) and
    0.7 MB. Connections stay open for the next request; of how many there are, only the requests at once decide.
    """

    def __init__(self) -> None:
        super().__init__(pool_connections=2, pool_maxsize=1)
        self._last_pool: tuple[str, bool | str, Any] | None = None

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Use connections that end by a deadline."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._last_pool = None  # A pool closes its connections when nobody has it any more.
        super().close()

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

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        """Return the pool for a request: looking it up takes a tenth of a small request's CPU, so the last is kept."""
        if proxies:
            return super().get_connection_with_tls_context(request, verify, proxies=proxies, cert=cert)
        origin, last = _split(request)[0], self._last_pool
        if last is not None and last[:2] == (origin, verify):
            return last[2]
        pool = super().get_connection_with_tls_context(request, verify, proxies=proxies, cert=cert)
        self._last_pool = origin, verify, pool
        return pool

    def request_url(self, request: requests.PreparedRequest, proxies: Any) -> str:
        """Return what the request line names: path and query, unless a proxy needs the whole URL."""
        return super().request_url(request, proxies) if proxies else _split(request)[1]

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        """Return the answer without what nobody reads, such as cookies."""
        response = requests.Response()
        response.status_code = resp.status
        response.headers = CaseInsensitiveDict(resp.headers)
        response.raw = resp
        return response

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


def _split(request: requests.PreparedRequest) -> tuple[str, str]:
    """Return the origin of a request's URL, and the rest of it."""
    scheme, _, host, *rest = (request.url or "").split("/", 3)
    return f"{scheme}//{host}", "/" + "".join(rest)


class _Shared(Connections):
    """Connections to one host that several clients use. The last one that closes them really does."""

    def __init__(self, host: str) -> None:
        super().__init__()
        self._host = host
        self.users = 0

    def close(self) -> None:
        """Close the connections, unless others use them."""
        with _lock:
            self.users -= 1
            if self.users:
                return
            del _by_host[self._host]
        super().close()


_lock = threading.Lock()
_by_host: dict[str, _Shared] = {}


def shared_connections(url: str) -> Connections:
    """Return the connections that all clients of a URL's host share. Whoever asks for them closes them, once.

    Thousands of clients mostly have one target. Each would open a connection of its own otherwise, with a TLS
    handshake, for a single post.
    """
    host = host_of(url)
    with _lock:
        found = _by_host.get(host)
        if found is None:
            found = _by_host[host] = _Shared(host)
        found.users += 1
        return found


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
