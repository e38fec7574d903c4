"""Connections that end by the deadline of their exchange, whatever the server does.

`requests` and `urllib3` limit only each silence until the body: a server that drips its status line occupies a thread
for hours. So these connections limit connecting, a proxy's CONNECT, the TLS handshake, sending and each read by the
time left for the exchange, without a watching thread. Also holds what is known about idle connections and about a
host's addresses. Stays out: requests, answers and their bodies (`wire.py`).
"""

import errno
import http.client
import io
import queue
import re
import socket
import ssl
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ClassVar

import urllib3.connection
import urllib3.connectionpool
from urllib3.exceptions import ConnectTimeoutError, LocationParseError, NameResolutionError, NewConnectionError

from importer_pipeline.http.faults import Fault, GivenUp

MAX_IDLE_SECONDS = 50.0
"""Maximum idle time of a connection that is used again: routers drop connections silently after a minute."""

MAX_HEAD_BYTES = 256 * 1024
"""Maximum size of status lines and headers, including interim answers."""

_MEMORY_SECONDS = 900.0
_KEEPALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 45_000}


@dataclass(slots=True)
class Exchange:
    """One request and its answer, as the connection sees them.

    Attributes:
        deadline: time by which it must end, by `time.monotonic`.
        limit_bytes: maximum number of bytes to receive, before decompression.
        fresh: whether it needs a new connection.
        reused: whether its connection was used before.
        received: bytes received from the server.
    """

    deadline: float
    limit_bytes: int
    fresh: bool = False
    reused: bool = False
    received: int = 0

    def left_seconds(self, timeout_seconds: float | None) -> float:
        """Return the maximum wait; raise TimeoutError once the deadline has passed."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the exchange took longer than it may")
        return left if timeout_seconds is None else min(left, timeout_seconds)


_current: ContextVar[Exchange | None] = ContextVar("exchange", default=None)


@contextmanager
def carrying(exchange: Exchange) -> Generator[None]:
    """Assign the connections that this thread uses to an exchange."""
    token = _current.set(exchange)
    try:
        yield
    finally:
        _current.reset(token)


def _exchange() -> Exchange:
    found = _current.get()
    assert found is not None, "a connection is used outside of an exchange"
    return found


def _set_timeout(sock: socket.socket, seconds: float) -> None:
    """Set a timeout, unless it is in force: each time is a system call, for which other threads take over."""
    if sock.gettimeout() != seconds:
        sock.settimeout(seconds)


class _BoundedReader(io.RawIOBase):
    """Reads from a socket; each read is limited by the time left."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, *, limit_bytes: int) -> None:
        self._raw = raw
        self._sock = sock
        self._silence_seconds = sock.gettimeout()
        self.limit_bytes = limit_bytes
        self.received = 0
        self.is_done = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        if self.is_done:
            return None
        exchange = _exchange()
        _set_timeout(self._sock, exchange.left_seconds(self._silence_seconds))
        try:
            length = self._raw.readinto(buffer) or 0
        except TimeoutError as error:
            if error.errno == errno.ETIMEDOUT:  # The system found the connection dead: not a slow answer.
                raise ConnectionResetError(errno.ECONNRESET, "the connection was lost") from None
            raise
        self.received += length
        exchange.received += length
        if self.received > self.limit_bytes:
            raise GivenUp(Fault.TOO_LARGE)
        return length

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """An answer read by the deadline; its connection is shut down if more bytes follow the answer."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._sock = sock
        self._reader = _BoundedReader(self.fp.detach(), sock, limit_bytes=MAX_HEAD_BYTES)
        self.fp = io.BufferedReader(self._reader)

    def begin(self) -> None:
        """Read the status and the headers, then allow the size of a body."""
        super().begin()
        self._reader.limit_bytes += _exchange().limit_bytes

    def _read_and_discard_trailer(self) -> None:
        """Limit the trailer after a chunked body like the headers before it."""
        self._reader.limit_bytes = self._reader.received + MAX_HEAD_BYTES
        super()._read_and_discard_trailer()  # pyright: ignore[reportAttributeAccessIssue]

    def _close_conn(self) -> None:
        """End the reading. Bytes after the answer would be taken for the next answer."""
        self._reader.is_done = True
        unread = isinstance(self._sock, ssl.SSLSocket) and self._sock.pending() > 0
        if unread or (not self.fp.closed and self.fp.peek(1)):
            with suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)
        super()._close_conn()  # pyright: ignore[reportAttributeAccessIssue]


class Addresses:
    """Remembers unreachable addresses, so that only one request waits for each."""

    def __init__(self) -> None:
        self._failed_at: dict[Any, float] = {}
        self._lock = threading.Lock()

    def sorted(self, found: Sequence[Any], now: float) -> list[Any]:
        """Return the addresses from `getaddrinfo`, with recently failed ones last."""
        with self._lock:
            self._failed_at = {key: at for key, at in self._failed_at.items() if at > now - _MEMORY_SECONDS}
            return sorted(found, key=lambda info: info[4] in self._failed_at)

    def reached(self, address: Any) -> None:
        """Forget that an address failed."""
        with self._lock:
            self._failed_at.pop(address, None)

    def failed(self, address: Any, now: float) -> None:
        """Remember that an address failed."""
        with self._lock:
            self._failed_at[address] = now


ADDRESSES = Addresses()
"""Shared in this process."""


def _connect(host: str, port: int, timeout_seconds: float | None) -> socket.socket:
    host = host.strip("[]")
    try:
        host.encode("idna")
    except UnicodeError:
        raise LocationParseError("label empty or too long") from None
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failure = OSError("the host has no address")
    for family, kind, protocol, _, address in ADDRESSES.sorted(found, time.monotonic()):
        wait_seconds = _exchange().left_seconds(timeout_seconds)
        try:
            connection = socket.socket(family, kind, protocol)
        except OSError as error:
            failure = error
            continue
        try:
            _keep_alive(connection)
            _set_timeout(connection, wait_seconds)
            connection.connect(address)
        except OSError as error:
            connection.close()
            ADDRESSES.failed(address, time.monotonic())
            failure = error
            continue
        ADDRESSES.reached(address)
        return connection
    raise failure


def _keep_alive(connection: socket.socket) -> None:
    """Let the system detect a dead connection within tens of seconds."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if (option := getattr(socket, name, None)) is not None:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)


class _Bounded(urllib3.connection.HTTPConnection):
    """Common to both kinds of connections."""

    response_class = _Response
    idle_since: float = 0.0

    def _new_conn(self) -> socket.socket:
        host = self._dns_host
        try:
            connection = _connect(host, self.port, self.timeout)
            _set_timeout(connection, _exchange().left_seconds(self.timeout))  # For the TLS handshake.
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(self, f"connecting to {self.host} took too long") from error
        except OSError as error:
            raise NewConnectionError(self, f"no connection to {self.host}: {error}") from error
        return connection

    def _tunnel(self) -> None:
        try:
            super()._tunnel()
        except OSError as error:
            if re.match(r"Tunnel connection failed: 4\d\d\b", str(error)):  # A 5xx may be gone at the next request.
                raise GivenUp(Fault.PROXY_UNUSABLE) from None
            if str(error).startswith("Tunnel connection failed"):
                raise GivenUp(Fault.PROXY) from None
            raise

    def send(self, data: Any) -> None:
        """Send bytes."""
        if self.sock is not None:
            _set_timeout(self.sock, _exchange().left_seconds(self.timeout))
        super().send(data)


class _BoundedTLS(_Bounded, urllib3.connection.HTTPSConnection):
    """A connection with TLS."""


class _Idle(queue.LifoQueue[Any]):
    """The idle connections of a pool: all that were in use at once, while one of a fixed size would close the others."""

    def __init__(self, _maxsize: int) -> None:
        super().__init__()


class _Pool(urllib3.connectionpool.HTTPConnectionPool):
    """Connections to one server, as many as are in use at once; none is used that has been idle for long."""

    ConnectionCls: ClassVar[Any] = _Bounded
    QueueCls: ClassVar[Any] = _Idle

    def _get_conn(self, timeout: float | None = None) -> Any:
        connection: Any = super()._get_conn(timeout)
        exchange = _exchange()
        is_old = time.monotonic() - connection.idle_since > MAX_IDLE_SECONDS
        if not connection.is_closed and (exchange.fresh or is_old):
            connection.close()
        exchange.reused = not connection.is_closed
        return connection

    def _put_conn(self, conn: Any) -> None:
        if conn is not None:
            conn.idle_since = time.monotonic()
        super()._put_conn(conn)


class _TLSPool(_Pool, urllib3.connectionpool.HTTPSConnectionPool):
    """The same with TLS."""

    ConnectionCls: ClassVar[Any] = _BoundedTLS


POOLS: dict[str, Any] = {"http": _Pool, "https": _TLSPool}
"""The pools for a pool manager of `urllib3`, by scheme."""
