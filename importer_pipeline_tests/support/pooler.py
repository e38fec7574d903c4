"""A proxy in front of Postgres that pools transactions, as PgBouncer does: each may go to another server session.

It implements only what psycopg2 needs of the protocol: simple queries, and no password.
https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

import queue
import socket
import struct
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress

_HOST = "127.0.0.1"
_READY = b"Z"
_TERMINATE = b"X"
_IDLE = b"I"


class _Server:
    """A session of the server, with its messages at the start."""

    def __init__(self, port: int, startup: bytes) -> None:
        self.socket = socket.create_connection((_HOST, port))
        self.socket.sendall(startup)
        self.greeting = b"".join(self.answer())
        self.status = _IDLE

    def answer(self) -> Generator[bytes]:
        """Yield its messages up to ReadyForQuery."""
        while True:
            kind, message = _message(self.socket)
            yield message
            if kind == _READY:
                self.status = message[5:6]
                return


@contextmanager
def transaction_pooler(port: int, *, sessions: int) -> Generator[int]:
    """Run a proxy while the `with` block runs; yield its port.

    Args:
        port: the port of Postgres.
        sessions: number of the server's sessions for all of its clients.
    """
    free: queue.LifoQueue[_Server | None] = queue.LifoQueue()
    for _ in range(sessions):
        free.put(None)
    with socket.create_server((_HOST, 0)) as listener:

        def listen() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    threading.Thread(target=_serve, args=(client, port, free), daemon=True).start()

        threading.Thread(target=listen, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    while not free.empty():
        server = free.get()
        if server is not None:
            server.socket.close()


def _serve(client: socket.socket, port: int, free: "queue.LifoQueue[_Server | None]") -> None:
    """Greet a client with a server's words, then give each of its transactions to a free server."""
    with client, suppress(OSError, EOFError):
        startup = _startup(client)
        server = free.get() or _Server(port, startup)
        client.sendall(server.greeting)
        free.put(server)
        held: _Server | None = None
        try:
            while True:
                kind, message = _message(client)
                if kind == _TERMINATE:
                    return
                held = held or free.get() or _Server(port, startup)
                held.socket.sendall(message)
                for answer in held.answer():
                    client.sendall(answer)
                if held.status == _IDLE:
                    free.put(held)
                    held = None
        finally:
            if held is not None:
                held.socket.close()
                free.put(None)


def _startup(client: socket.socket) -> bytes:
    """Read the startup message of a client; a request for encryption is refused first."""
    while True:
        length = _exactly(client, 4)
        message = length + _exactly(client, struct.unpack("!I", length)[0] - 4)
        if message[4:8] not in (struct.pack("!I", 80877103), struct.pack("!I", 80877104)):
            return message
        client.sendall(b"N")


def _message(of: socket.socket) -> tuple[bytes, bytes]:
    """Read the next message; return its kind and all of it."""
    head = _exactly(of, 5)
    return head[:1], head + _exactly(of, struct.unpack("!I", head[1:])[0] - 4)


def _exactly(of: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = of.recv(size - len(data))
        if not chunk:
            raise EOFError
        data += chunk
    return data
