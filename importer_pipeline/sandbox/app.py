"""The sandbox over HTTP: an ASGI application.

`/3.0` and `/oauth2/metadata` are Mailchimp, `/target` is the target, `/sandbox` is for its operator.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.types import Message, Receive, Scope, Send

from importer_pipeline.sandbox.messages import SandboxAnswer, SandboxRequest
from importer_pipeline.sandbox.passage import Ending, Passage, Visit
from importer_pipeline.sandbox.world import World

TRANSPORT = "importer_pipeline.sandbox.transport"
"""Key of the connection's transport in a scope's `extensions`: a reset can't be sent without it."""

_TICK_SECONDS = 0.05
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Changing:
    """Changes contacts at a steady rate while the server runs.

    Attributes:
        paused: True while no changes are made.
    """

    def __init__(self, world: World, *, changes_per_second: float) -> None:
        self.paused = False
        self._world = world
        self._per_tick = changes_per_second * _TICK_SECONDS

    async def run(self) -> None:
        """Make changes until cancelled."""
        due = 0.0
        while self._per_tick:
            await asyncio.sleep(_TICK_SECONDS)
            due = 0.0 if self.paused else due + self._per_tick
            self._world.change(int(due))
            due -= int(due)


def build_app(world: World, *, changes_per_second: float = 0.0) -> Starlette:
    """Build the application that serves a world."""
    changing = Changing(world, changes_per_second=changes_per_second)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncGenerator[None]:
        task = asyncio.create_task(changing.run())
        yield
        task.cancel()

    return Starlette(routes=[*_control_routes(world, changing), Mount("/", app=_Door(world))], lifespan=lifespan)


def _control_routes(world: World, changing: Changing) -> list[Route]:
    # Not coroutines: Starlette runs these in threads, so that a long comparison blocks no request.
    def stats(_request: Request) -> JSONResponse:
        return JSONResponse({**world.stats(), "paused": changing.paused})

    def compare(_request: Request) -> JSONResponse:
        return JSONResponse(world.compare())

    def change(request: Request) -> JSONResponse:
        text = request.query_params.get("n", "1")
        if not text.isdecimal():
            return JSONResponse({"error": "n must be a whole number of changes"}, status_code=400)
        world.change(int(text))
        return JSONResponse({"changed": int(text)})

    def pause(_request: Request) -> JSONResponse:
        changing.paused = True
        return JSONResponse({"paused": True})

    def resume(_request: Request) -> JSONResponse:
        changing.paused = False
        return JSONResponse({"paused": False})

    def forget(_request: Request) -> JSONResponse:
        world.forget()
        return JSONResponse({})

    return [
        Route("/sandbox/stats", stats),
        Route("/sandbox/compare", compare),
        *(Route(f"/sandbox/{does.__name__}", does, methods=["POST"]) for does in (change, pause, resume, forget)),
    ]


class _Door:
    """Carries each request through its `Visit`: reads it, waits, sends the answer."""

    def __init__(self, world: World) -> None:
        self._passage = Passage(world.sandbox)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        visit = self._passage.arrive(await _request(scope, receive))
        fate = visit.fate
        if fate.compute_after_seconds:
            await asyncio.sleep(fate.compute_after_seconds)
        answer = visit.compute()
        if visit.ending is Ending.HANG:
            await _departure(receive)
            visit.abandon()
            return
        if fate.answer_after_seconds > fate.compute_after_seconds:
            await asyncio.sleep(fate.answer_after_seconds - fate.compute_after_seconds)
        visit.leave()
        await _send(visit, answer, scope, receive, send)


async def _request(scope: Scope, receive: Receive) -> SandboxRequest:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    return SandboxRequest(
        method=scope["method"],
        path=scope["path"],
        query=dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)),
        headers={name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
        body=body,
    )


async def _send(visit: Visit, answer: SandboxAnswer, scope: Scope, receive: Receive, send: Send) -> None:
    transport: Any = scope.get("extensions", {}).get(TRANSPORT)
    if visit.ending is Ending.RESET:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()
        await _departure(receive)
        return
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()]
    headers.append((b"content-length", str(len(answer.body)).encode("ascii")))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if visit.ending is Ending.CUT:
        half: Message = {"type": "http.response.body", "body": answer.body[: len(answer.body) // 2], "more_body": True}
        await send(half)
        transport.close()
        await _departure(receive)
        return
    await send({"type": "http.response.body", "body": answer.body})


async def _departure(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
