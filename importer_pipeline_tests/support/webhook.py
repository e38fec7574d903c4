"""A webhook on loopback that keeps the messages that it accepts, and fails in the ways of a real one."""

import json
import threading
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

_DRIPS = 100
_SECRET = "/services/T0000/B0000/unspeakable"


class Mood(Enum):
    """What the webhook does with a message."""

    ACCEPT = "accept"
    BROKEN = "broken"
    """HTTP 500."""
    REDIRECT = "redirect"
    HANG = "hang"
    DRIP = "drip"
    """A byte a second."""
    UNPLUGGED = "unplugged"
    """Nobody listens: connections are refused."""


class _Server(ThreadingHTTPServer):
    """One whose client may hang up."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of it."""


class Webhook:
    """The server. A context manager, which serves.

    Attributes:
        texts: the messages that it accepted.
        asked: number of requests, to whichever path.
    """

    def __init__(self) -> None:
        self._mood = Mood.ACCEPT
        self.texts: list[str] = []
        self.asked = 0
        self._released = threading.Event()
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                webhook.answer(self)

            def do_GET(self) -> None:
                webhook.answer(self)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._handler = Handler
        self._server = _Server(("127.0.0.1", 0), Handler)
        self._port: int = self._server.server_address[1]

    def __enter__(self) -> Self:
        self._serve()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._released.set()
        self.mood = Mood.UNPLUGGED

    @property
    def url(self) -> str:
        """Its URL, which is a secret."""
        return f"http://127.0.0.1:{self._port}{_SECRET}"

    @property
    def mood(self) -> Mood:
        """What it does with the next messages."""
        return self._mood

    @mood.setter
    def mood(self, mood: Mood) -> None:
        was, self._mood = self._mood, mood
        if was is mood:
            return
        if mood is Mood.UNPLUGGED:
            self._server.shutdown()
            self._server.server_close()
        elif was is Mood.UNPLUGGED:
            self._server = _Server(("127.0.0.1", self._port), self._handler)
            self._serve()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer a request."""
        self.asked += 1
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        if self.mood is Mood.HANG:
            self._released.wait()
            return
        if self.mood is Mood.REDIRECT:
            handler.send_response(302)
            handler.send_header("Location", self.url)
            handler.end_headers()
            return
        handler.send_response(500 if self.mood is Mood.BROKEN else 200)
        handler.send_header("Content-Length", str(_DRIPS if self.mood is Mood.DRIP else 2))
        handler.end_headers()
        if self.mood is Mood.DRIP:
            for _ in range(_DRIPS):
                handler.wfile.write(b"o")
                handler.wfile.flush()
                if self._released.wait(1.0):
                    return
        handler.wfile.write(b"ok")
        if self.mood is Mood.ACCEPT:
            assert handler.path == _SECRET
            self.texts.append(json.loads(body)["text"])

    def _serve(self) -> None:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
