"""Faults: the exceptions of `requests`, `urllib3` and the sockets below them, by the reason why there is no answer.

Holds the table. Stays out: the error for a fault, which depends on the server (`mailchimp/errors.py`,
`target/client.py`), and sending (`wire.py`).
"""

import http.client
import ssl
from enum import Enum

from requests import exceptions as of_requests
from urllib3 import exceptions as of_urllib3


class Fault(Enum):
    """The reason why there is no answer."""

    NAME_UNKNOWN = "the host's name is not known"
    UNREACHABLE = "no connection could be made"
    TLS = "no TLS connection could be made"
    UNTRUSTED = "the server's certificate is not trusted"
    BUNDLE = "the certificates of this machine can't be loaded"
    PROXY = "the proxy of this machine's environment failed"
    PROXY_UNUSABLE = "the proxy of this machine's environment can't be used"
    SLOW = "no complete answer arrived in time"
    HUNG_UP = "the connection ended before an answer arrived"
    CUT = "the answer was cut off or garbled"
    TOO_LARGE = "the answer was larger than expected"
    UNSENDABLE = "no request can be made with this URL"
    UNFORESEEN = "the request failed for an unknown reason"


OF_THE_PROXY = frozenset({Fault.PROXY, Fault.PROXY_UNUSABLE})
"""Faults that depend on the variable that names the proxy."""

OF_THE_BUNDLE = frozenset({Fault.UNTRUSTED, Fault.BUNDLE})
"""Faults that depend on the variable that names the certificates."""


FAULTS: tuple[tuple[type[BaseException], Fault], ...] = (
    (of_requests.InvalidProxyURL, Fault.PROXY_UNUSABLE),
    (of_urllib3.ProxySchemeUnknown, Fault.PROXY_UNUSABLE),
    (of_urllib3.ProxySchemeUnsupported, Fault.PROXY_UNUSABLE),
    (ssl.SSLCertVerificationError, Fault.UNTRUSTED),
    (of_requests.ProxyError, Fault.PROXY),
    (of_urllib3.ProxyError, Fault.PROXY),
    (of_urllib3.NameResolutionError, Fault.NAME_UNKNOWN),
    (of_urllib3.NewConnectionError, Fault.UNREACHABLE),
    (of_urllib3.ConnectTimeoutError, Fault.UNREACHABLE),
    (of_requests.ConnectTimeout, Fault.UNREACHABLE),
    (of_requests.SSLError, Fault.TLS),
    (of_urllib3.SSLError, Fault.TLS),
    (ssl.SSLError, Fault.TLS),
    (of_requests.Timeout, Fault.SLOW),
    (of_urllib3.TimeoutError, Fault.SLOW),
    (TimeoutError, Fault.SLOW),
    (http.client.RemoteDisconnected, Fault.HUNG_UP),
    (http.client.InvalidURL, Fault.UNSENDABLE),
    (http.client.HTTPException, Fault.CUT),
    (of_requests.ConnectionError, Fault.HUNG_UP),
    (of_requests.ChunkedEncodingError, Fault.CUT),
    (of_requests.ContentDecodingError, Fault.CUT),
    (of_requests.InvalidJSONError, Fault.CUT),
    (of_urllib3.ProtocolError, Fault.CUT),
    (of_urllib3.DecodeError, Fault.CUT),
    (of_urllib3.HeaderParsingError, Fault.CUT),
    (of_urllib3.BodyNotHttplibCompatible, Fault.CUT),
    # Our own headers are checked when they are created; this one is a Content-Length that contradicts itself.
    (of_urllib3.InvalidHeader, Fault.CUT),
    (of_requests.InvalidHeader, Fault.CUT),
    (of_urllib3.PoolError, Fault.HUNG_UP),
    (of_urllib3.ResponseError, Fault.HUNG_UP),
    (of_requests.RetryError, Fault.HUNG_UP),
    (of_requests.HTTPError, Fault.HUNG_UP),
    (of_requests.TooManyRedirects, Fault.HUNG_UP),
    (of_requests.StreamConsumedError, Fault.HUNG_UP),
    (of_requests.UnrewindableBodyError, Fault.HUNG_UP),
    (of_urllib3.UnrewindableBodyError, Fault.HUNG_UP),
    (of_requests.InvalidURL, Fault.UNSENDABLE),
    (of_requests.InvalidSchema, Fault.UNSENDABLE),
    (of_requests.MissingSchema, Fault.UNSENDABLE),
    (of_requests.URLRequired, Fault.UNSENDABLE),
    (of_urllib3.LocationValueError, Fault.UNSENDABLE),
    (of_urllib3.TimeoutStateError, Fault.UNSENDABLE),
    (ConnectionError, Fault.HUNG_UP),
    (ValueError, Fault.UNSENDABLE),
)
"""The first line applies whose type matches the exception or one inside it. A wrapper comes before what it wraps if it
says more: an unknown name of a proxy is a fault of the proxy."""

QUOTABLE = frozenset({Fault.NAME_UNKNOWN, Fault.UNREACHABLE, Fault.TLS, Fault.UNTRUSTED, Fault.SLOW})
"""Faults whose exceptions show a host and a path at most. The texts of others may quote a line of a body, a header, or
the password of a proxy."""


class GivenUp(OSError):
    """The importer gave up the exchange, for this fault; `urllib3` then drops the connection."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.value)
        self.fault = fault


def fault_of(error: BaseException) -> Fault:
    """Return the fault of an exception; `UNFORESEEN` if no line of `FAULTS` matches."""
    layers = _layers(error)
    if given_up := [layer.fault for layer in layers if isinstance(layer, GivenUp)]:
        return given_up[0]
    return next((fault for kind, fault in FAULTS if any(isinstance(layer, kind) for layer in layers)), Fault.UNFORESEEN)


def with_variable(remedy: str, variable: str) -> str:
    """Add the name of the environment variable in force to a remedy. Never its value: it may contain a password."""
    return f"{remedy} ({variable} is set)" if variable else remedy


def _layers(error: BaseException) -> list[BaseException]:
    """Return the exception and those inside it, as `requests` and `urllib3` wrap them."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        layer = waiting.pop()
        if isinstance(layer, BaseException) and layer not in found:
            found.append(layer)
            waiting += [*layer.args, getattr(layer, "reason", None)]
    return found


TRANSPORT = (OSError, ValueError, of_urllib3.HTTPError, http.client.HTTPException)
"""Exceptions to catch around sending and reading."""
