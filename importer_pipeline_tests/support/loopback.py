"""A server on the loopback interface that answers byte for byte as a test says, correctly or not.

Here: sockets and HTTP's framing. Stays out: Mailchimp and the target (see the sandbox).
"""

import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Self

CERTIFICATE = Path(__file__).with_name("loopback.pem")
"""Certificate and key of a server at 127.0.0.1; trusted only by clients configured for it."""


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Ending(Enum):
    """A way for a connection to end early."""

    CUT = "closed"
    RESET = "reset"
    SILENCE = "held open without an answer until the client leaves"


Step = bytes | float | Ending
"""The next step of a server: send bytes, pause for seconds, or end the connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A request as it arrived.

    Attributes:
        line: the request line.
        headers: by name in lower case.
        body: the bytes of the body.
    """

    line: str
    headers: Mapping[str, str]
    body: bytes


def reply(status: int = 200, body: bytes | object = b"", *, headers: Mapping[str, str] | None = None) -> bytes:
    """Make a whole answer; a body that is not bytes is sent as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


class Loopback:
    """Serves while it is open as a context; keeps connections alive.

    Args:
        steps: returns the steps for a request.
        tls: speak TLS, with `CERTIFICATE`.
        greeting: bytes to send to a client before its first request.
    """

    def __init__(
        self, steps: Callable[[Received], Sequence[Step]], *, tls: bool = False, greeting: bytes = b""
    ) -> None:
        self._steps = steps
        self._greeting = greeting
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._tls: ssl.SSLContext | None = None
        if tls:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(CERTIFICATE)
        self.received: list[Received] = []
        self.connections = 0

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._socket.getsockname()[1]}"

    @property
    def url(self) -> str:
        """Its URL."""
        return f"{'http' if self._tls is None else 'https'}://{self.address}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection, connection.makefile("rb") as stream:
                connection.sendall(self._greeting)
                while line := stream.readline().decode("latin-1").strip():
                    headers: dict[str, str] = {}
                    while field := stream.readline().decode("latin-1").strip():
                        name, _, value = field.partition(":")
                        headers[name.lower()] = value.strip()
                    body = stream.read(int(headers.get("content-length", "0")))
                    self.received.append(Received(line=line, headers=headers, body=body))
                    for step in self._steps(self.received[-1]):
                        if not _take(step, connection):
                            return
        except OSError:
            return  # The client left, which is what the test checks.


def _take(step: Step, connection: socket.socket) -> bool:
    """Do one step; return False if it ends the connection."""
    match step:
        case bytes():
            connection.sendall(step)
        case float() | int():
            time.sleep(step)
        case Ending.SILENCE:
            connection.recv(1)
            return False
        case Ending.RESET:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        case Ending.CUT:
            return False
    return True
