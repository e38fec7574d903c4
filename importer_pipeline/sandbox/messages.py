"""Requests and answers of the sandbox, free of any transport.

Stays out: answering (`core`), faults (`faults`, `passage`), HTTP itself (`app`, `adapter`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

JSON = "application/json; charset=utf-8"
PROBLEM_JSON = "application/problem+json; charset=utf-8"
HTML = "text/html"

_PROBLEM_TYPE = "https://mailchimp.com/developer/marketing/docs/errors/"


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxRequest:
    """A request as it arrived.

    Attributes:
        method: the HTTP method, in capitals.
        path: the path without the query, from the root: `/3.0/lists/...`, `/target/record`, `/oauth2/metadata`.
        query: the decoded query parameters.
        headers: the header fields; any case.
        body: the body, empty if there is none.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""

    def header(self, name: str) -> str:
        """Return the value of a header field, or `""`. Case does not matter."""
        wanted = name.lower()
        return next((value for key, value in self.headers.items() if key.lower() == wanted), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxAnswer:
    """An answer as it should leave.

    Attributes:
        status: the HTTP status.
        headers: the header fields, without `Content-Length`.
        body: the whole body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


def encoded(document: Any) -> bytes:
    """Encode a document as compact JSON in ASCII, as Mailchimp sends it."""
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def problem_document(status: int, title: str, detail: str, instance: str) -> dict[str, Any]:
    """Describe an error as Mailchimp does (V): RFC 7807 with Mailchimp's `instance`, the id of the request."""
    return {"type": _PROBLEM_TYPE, "title": title, "status": status, "detail": detail, "instance": instance}
