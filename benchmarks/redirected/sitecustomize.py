"""Loaded by the interpreter of a peer as it starts: what it sends to Mailchimp goes to the sandbox.

Both peers know no other address than Mailchimp's own, and both send their requests with the library `requests`.
"""

import os
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from requests import PreparedRequest, Response, Session

_MAILCHIMP = ".api.mailchimp.com"
_SANDBOX = urlsplit(os.environ["SANDBOX_URL"])

_send = Session.send


def _redirected(self: Session, request: PreparedRequest, **options: Any) -> Response:
    asked = urlsplit(request.url or "")
    if str(asked.hostname).endswith(_MAILCHIMP):
        request.url = urlunsplit((_SANDBOX.scheme, _SANDBOX.netloc, asked.path, asked.query, ""))
    return _send(self, request, **options)


Session.send = _redirected
