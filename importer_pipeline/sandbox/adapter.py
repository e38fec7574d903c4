"""The sandbox in process: a `requests` adapter that answers without a network, and fails as the real stack would."""

import io
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict
from urllib3 import HTTPResponse

from importer_pipeline.sandbox.core import Sandbox
from importer_pipeline.sandbox.messages import SandboxAnswer, SandboxRequest
from importer_pipeline.sandbox.passage import Ending, Passage, Visit

Timeout = float | tuple[float | None, float | None] | None


class SandboxAdapter(BaseAdapter):
    """An adapter to mount on a `requests.Session`; any host will do, the path decides.

    Args:
        sandbox: the one that answers.
        sleep: waits for seconds. An injected one may move the sandbox's clock instead.
    """

    def __init__(self, sandbox: Sandbox, *, sleep: Callable[[float], None] = time.sleep) -> None:
        super().__init__()
        self._passage = Passage(sandbox)
        self._sleep = sleep

    def send(
        self, request: requests.PreparedRequest, stream: bool = False, timeout: Timeout = None,
        verify: bool | str = True, cert: Any = None, proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:  # fmt: skip
        """Send a prepared request.

        Raises:
            requests.ReadTimeout: the answer took longer than the reading time-out, or would never have come.
            requests.ConnectionError: the connection was reset.
            requests.exceptions.ChunkedEncodingError: the body was cut; raised where it is read, with `stream` later.
        """
        visit = self._passage.arrive(_request(request))
        patience = timeout[1] if isinstance(timeout, tuple) else timeout
        self._wait(visit, request, patience)
        answer = visit.compute()
        visit.leave()
        if visit.ending is Ending.RESET:
            raise requests.ConnectionError(
                "('Connection aborted.', ConnectionResetError(104, 'Connection reset by peer'))", request=request
            )
        response = _response(answer, request, cut=visit.ending is Ending.CUT)
        if not stream:
            _ = response.content
        return response

    def close(self) -> None:
        """Do nothing: there is nothing to close."""

    def _wait(self, visit: Visit, request: requests.PreparedRequest, patience: float | None) -> None:
        """Let time pass until the answer, or until the caller gives up."""
        compute_after, answer_after = visit.fate.compute_after_seconds, visit.fate.answer_after_seconds
        lasts = visit.hang_seconds if visit.ending is Ending.HANG else answer_after
        gives_up = patience is not None and (lasts > patience or visit.ending is Ending.HANG)
        end = patience if gives_up and patience is not None else lasts
        if min(compute_after, end) > 0:
            self._sleep(min(compute_after, end))
        # The caller may leave, the request continues: a batch is stored even after a time-out.
        visit.compute()
        if end > compute_after:
            self._sleep(end - compute_after)
        if gives_up:
            visit.abandon()
            raise requests.ReadTimeout(f"Read timed out. (read timeout={patience})", request=request)


def _request(request: requests.PreparedRequest) -> SandboxRequest:
    parts = urlsplit(request.url or "")
    body = request.body or b""
    return SandboxRequest(
        method=request.method or "GET", path=parts.path,
        query=dict(parse_qsl(parts.query, keep_blank_values=True)),
        headers={**{str(name): str(value) for name, value in request.headers.items()}, "Host": parts.netloc},
        body=body.encode() if isinstance(body, str) else bytes(body),
    )  # fmt: skip


def _response(answer: SandboxAnswer, request: requests.PreparedRequest, *, cut: bool) -> requests.Response:
    """Make a response as `requests` does; reading the body of a cut one fails as it would from a socket."""
    body = answer.body[: len(answer.body) // 2] if cut else answer.body
    headers = {**answer.headers, "Content-Length": str(len(answer.body))}
    response = requests.Response()
    response.status_code = answer.status
    response.headers = CaseInsensitiveDict(headers)
    response.encoding = requests.utils.get_encoding_from_headers(response.headers)
    response.raw = HTTPResponse(
        io.BytesIO(body), headers=headers, status=answer.status, preload_content=False, enforce_content_length=True,
        request_method=request.method,
    )  # fmt: skip
    response.url = request.url or ""
    response.request = request
    return response
