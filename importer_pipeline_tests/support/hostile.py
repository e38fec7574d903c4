"""A server that answers as neither Mailchimp nor a target ever should, in the ways that `BEHAVIOURS` names.

The first part of a request's path chooses the behaviour, so one server plays many hostile clients at once:
`mailchimp.base_url: http://127.0.0.1:PORT/dripped_body/3.0`, `target.url: http://127.0.0.1:PORT/dripped_body`. Alone:
`python -m importer_pipeline_tests.support.hostile --port 8080` (and `--list` for the behaviours).

Here: raw bytes on a socket. Stays out: the tests with it (`test_hostile.py`).
"""

import argparse
import gzip
import json
import select
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from functools import cache

Sent = Iterator[bytes]
"""The bytes that a behaviour sends, piece by piece; at their end, the connection ends."""

STALL = b""
"""A piece without bytes: the server holds the connection open and sends nothing until the client leaves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """A hostile behaviour.

    Attributes:
        says: its description.
        send: the bytes of the answer.
        pause_seconds: between two pieces.
        resets: True if the connection ends in a reset.
    """

    says: str
    send: Callable[[], Sent]
    pause_seconds: float = 0.0
    resets: bool = False


_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def _date() -> str:
    return formatdate(usegmt=True)


def _head(*lines: str, status: str = "200 OK", dates: tuple[str, ...] | None = None) -> bytes:
    dated = [f"Date: {date}" for date in ((_date(),) if dates is None else dates)]
    return "\r\n".join([f"HTTP/1.1 {status}", *dated, *lines, "", ""]).encode()


def _whole(body: bytes, *lines: str, status: str = "200 OK", dates: tuple[str, ...] | None = None) -> bytes:
    return _head(f"Content-Length: {len(body)}", *lines, status=status, dates=dates) + body


def _page(members: object = (), total: object = 0) -> bytes:
    return json.dumps({"members": members, "total_items": total, "response": 0}).encode()


def _drop(text: bytes) -> Sent:
    for at in range(len(text)):
        yield text[at : at + 1]


def _endless(head: bytes, chunk: bytes) -> Sent:
    yield head
    while True:
        yield chunk


def _once(*chunks: bytes) -> Callable[[], Sent]:
    return lambda: iter(chunks)


@cache
def _packed() -> bytes:
    # A megabyte at a time: the tests measure the memory of the process that this server runs in, too.
    packer = zlib.compressobj(1, wbits=zlib.MAX_WBITS | 16)
    return b"".join([*(packer.compress(b" " * 1_000_000) for _ in range(100)), packer.flush()])


def _bomb() -> Sent:
    yield _whole(_packed(), "Content-Encoding: gzip")


def _twice_packed() -> Sent:
    yield _whole(gzip.compress(_packed()), "Content-Encoding: gzip, gzip")


def _html(status: str) -> Callable[[], Sent]:
    return lambda: iter((_whole(b"<html>somebody in between</html>", "Content-Type: text/html", status=status),))


def _dated(*dates: str) -> Callable[[], Sent]:
    return lambda: iter((_whole(_page(), dates=dates),))


BEHAVIOURS: Mapping[str, Behaviour] = {
    "dripped_status": Behaviour(
        says="a status line, a byte at a time",
        send=lambda: _drop(b"HTTP/1.1 200 " + b"O" * 10_000),
        pause_seconds=0.05,
    ),
    "dripped_headers": Behaviour(
        says="headers, a byte at a time",
        send=lambda: _drop(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 10_000),
        pause_seconds=0.05,
    ),
    "endless_continue": Behaviour(
        says="100 Continue, again and again",
        send=lambda: _endless(_CONTINUE, _CONTINUE),
        pause_seconds=0.02,
    ),
    "hasty_continue": Behaviour(
        says="100 Continue as fast as it goes",
        send=lambda: _endless(_CONTINUE, _CONTINUE * 500),
    ),
    "dripped_body": Behaviour(
        says="a body, a byte at a time",
        send=lambda: _endless(_head("Content-Length: 9999999"), b" "),
        pause_seconds=0.05,
    ),
    "dripped_chunks": Behaviour(
        says="chunks of one byte",
        send=lambda: _endless(_head("Transfer-Encoding: chunked"), b"1\r\n \r\n"),
        pause_seconds=0.05,
    ),
    "endless_body": Behaviour(
        says="a body without an end", send=lambda: _endless(_head("Connection: close"), b" " * 65_536)
    ),
    "endless_chunks": Behaviour(
        says="chunks without an end",
        send=lambda: _endless(_head("Transfer-Encoding: chunked"), b"10000\r\n" + b" " * 65_536 + b"\r\n"),
    ),
    "endless_trailers": Behaviour(
        says="headers behind the body, without an end",
        send=lambda: _endless(_head("Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\n", b"X: y\r\n" * 1000),
    ),
    "endless_headers": Behaviour(
        says="headers without an end", send=lambda: _endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 1000)
    ),
    "huge_header": Behaviour(
        says="a header of a megabyte", send=_once(_head("X: " + "y" * 1_000_000, "Content-Length: 2"), b"{}")
    ),
    "gzip_bomb": Behaviour(says="100 MB in 500 kB", send=_bomb),
    "packed_twice": Behaviour(says="a body that was compressed twice", send=_twice_packed),
    "nested": Behaviour(says="JSON nested 50,000 deep", send=lambda: iter((_whole(b"[" * 50_000 + b"]" * 50_000),))),
    "absurd_total": Behaviour(says="a total of 10 to the 30th", send=lambda: iter((_whole(_page(total=10**30)),))),
    "large_total": Behaviour(says="a total of 2,000,000,000", send=lambda: iter((_whole(_page(total=2_000_000_000)),))),
    "empty_lists": Behaviour(
        says="60 MB of []",
        send=lambda: _endless(
            _head("Content-Length: 60000000") + b'{"total_items":1000,"members":[[]', b",[]" * 20_000
        ),
    ),
    "two_totals": Behaviour(
        says="a key twice", send=lambda: iter((_whole(b'{"members":[],"total_items":900,"total_items":0}'),))
    ),
    "two_dates": Behaviour(
        says="two Date headers",
        send=_dated("Wed, 23 Feb 2022 19:29:27 GMT", "Wed, 23 Feb 2022 19:29:28 GMT"),
    ),
    "date_9999": Behaviour(says="a Date in the year 9999", send=_dated("Fri, 31 Dec 9999 23:59:59 GMT")),
    "date_1970": Behaviour(says="a Date in the year 1970", send=_dated("Thu, 01 Jan 1970 00:00:00 GMT")),
    "html_400": Behaviour(says="400 with HTML", send=_html("400 Bad Request")),
    "html_403": Behaviour(says="403 with HTML", send=_html("403 Forbidden")),
    "html_404": Behaviour(says="404 with HTML", send=_html("404 Not Found")),
    "html_405": Behaviour(says="405 with HTML", send=_html("405 Method Not Allowed")),
    "html_431": Behaviour(says="431 with HTML", send=_html("431 Request Header Fields Too Large")),
    "cut_chunks": Behaviour(
        says="chunks that end too soon", send=_once(_head("Transfer-Encoding: chunked") + b"10\r\n{}")
    ),
    "cut_length": Behaviour(says="a Content-Length beyond the body", send=_once(_head("Content-Length: 99") + b"{}")),
    "odd_length": Behaviour(says="a Content-Length that is no number", send=_once(_head("Content-Length: x") + b"{")),
    "reset": Behaviour(says="a reset in place of an answer", send=_once(), resets=True),
    "silence": Behaviour(says="no answer", send=_once(STALL)),
    "silent_body": Behaviour(says="a head and no body", send=_once(_head("Content-Length: 2"), STALL)),
    "not_http": Behaviour(says="bytes that are no HTTP", send=_once(b"\x15\x03\x01\x00\x02\x02\x28" * 9)),
    "surplus": Behaviour(
        says="a second answer that nobody asked for",
        send=lambda: iter((_whole(b'{"first":1}') + _whole(b'{"second":2}'), STALL)),
    ),
}
"""Every behaviour, by the name that a path begins with."""


class Hostile:
    """Serves while it is open as a context; its threads end with it.

    Args:
        port: of 127.0.0.1; 0 for any that is free.
    """

    def __init__(self, *, port: int = 0) -> None:
        self._socket = socket.create_server(("127.0.0.1", port))
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._is_over = False

    def url(self, behaviour: str) -> str:
        """Return the URL of a behaviour."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/{behaviour}"

    def serve(self) -> None:
        """Accept connections until closed."""
        while not self._is_over:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with self._lock:
                self._open.add(connection)
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def close(self) -> None:
        """End all connections."""
        self._is_over = True
        with self._lock:
            for each in (self._socket, *self._open):
                try:
                    each.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue
        self._socket.close()

    def _answer(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb") as stream:
                name = stream.readline(65_536).decode("latin-1").split("/")[1]
                length = 0
                while field := stream.readline(65_536).strip().lower():
                    length = int(field.partition(b":")[2]) if field.startswith(b"content-length:") else length
                stream.read(length)
                self._send(BEHAVIOURS[name], connection)
        except (OSError, IndexError, KeyError):
            return  # The client left, or asked for nothing that is known.
        finally:
            with self._lock:
                self._open.discard(connection)

    def _send(self, behaviour: Behaviour, connection: socket.socket) -> None:
        for chunk in behaviour.send():
            if self._is_over:
                return
            if chunk is STALL:
                select.select([connection], [], [])
                return
            connection.sendall(chunk)
            if behaviour.pause_seconds:
                time.sleep(behaviour.pause_seconds)
        if behaviour.resets:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextmanager
def hostile(*, port: int = 0) -> Generator[Hostile]:
    """Serve every behaviour on one port."""
    server = Hostile(port=port)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join()


@contextmanager
def hostile_process() -> Generator[str]:
    """Serve every behaviour from another process, so that it takes no time from the process under test.

    Yields:
        the URL under which the behaviours are met: `<url>/<behaviour>`.
    """
    command = [sys.executable, "-m", "importer_pipeline_tests.support.hostile"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip().rpartition("/")[0]
        finally:
            process.kill()


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--list", action="store_true", help="list the behaviours")
    chosen = parser.parse_args()
    if chosen.list:
        print("\n".join(f"{name:20}{behaviour.says}" for name, behaviour in BEHAVIOURS.items()))
        return
    server = Hostile(port=chosen.port)
    print(server.url("BEHAVIOUR"), flush=True)
    try:
        server.serve()
    except KeyboardInterrupt:
        server.close()


if __name__ == "__main__":
    main()
