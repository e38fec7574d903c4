"""A target with a declared protocol: sends its posts and its check. No interpretation: see `bodies.py` and `answers.py`.

Stays out: retries, batching, rates (`engine/`), and where tokens come from (`tokens.py`).
"""

import hashlib
import secrets as random_texts
import threading
from collections.abc import Mapping, Sequence
from functools import partial

from pydantic import SecretStr

from importer_pipeline.http.connections import Adapter, shared_connections
from importer_pipeline.http.hosts import host_of
from importer_pipeline.http.wire import Answer, Route, Wire
from importer_pipeline.records.contacts import AnyRecord
from importer_pipeline.records.receipt import Receipt
from importer_pipeline.target.answers import read_answer, read_check
from importer_pipeline.target.bodies import body_of, headers_of, unique_records
from importer_pipeline.target.client import TargetLimits
from importer_pipeline.target.declaration import TOKEN, CheckForm, Declaration
from importer_pipeline.target.headers import header_secret
from importer_pipeline.target.meanings import fault_error
from importer_pipeline.target.tokens import TokenSource

_UNAUTHORIZED = 401


class DeclaredTarget:
    """One client's account at a target with a declared protocol. Threads may share it.

    Args:
        url: the prefix of each request's path.
        declaration: the protocol.
        secrets: the secrets that headers name.
        limits: how long and how much an answer may take.
        adapter: what carries the requests; None for the connections to its host.
        tokens: where the access token comes from; None if no header names one.

    Raises:
        SecretMissing: a header names a secret that is not given, or that can't be sent in one.
    """

    def __init__(
        self,
        url: str,
        declaration: Declaration,
        secrets: Mapping[str, SecretStr],
        *,
        limits: TargetLimits,
        adapter: Adapter | None = None,
        tokens: TokenSource | None = None,
    ) -> None:
        self._url = url
        self._form = declaration.request
        self._answers = declaration.answer
        self._check = declaration.check
        self._headers = partial(filled_headers, declaration, secrets)
        self._tokens = tokens
        self._headers("" if tokens is None else "token")  # A secret that can't be sent is known at once.
        self._wire = Wire(limits=limits, error_of=fault_error, adapter=adapter or shared_connections(url))
        self._routes: dict[tuple[str, str], Route] = {}
        self._keys = _IdempotencyKeys()

    def __repr__(self) -> str:
        return f"DeclaredTarget(url={self._url!r})"

    @property
    def host(self) -> str:
        """The host of its URL, with the port if the URL names one."""
        return host_of(self._url)

    def post(self, records: Sequence[AnyRecord]) -> Receipt:
        """Send records; of several with the same id, the last.

        Raises:
            ImporterError: there is no receipt; as `TargetClient.post`.
        """
        unique = unique_records(records)
        if not unique:
            return Receipt(sent=0, accepted=0)
        body = body_of(unique, self._form)
        key = self._keys.of(body) if self._form.idempotency_header else ""
        receipt = read_answer(self._send_post(body, key), unique, self._answers)
        self._keys.forget(key)
        return receipt

    def probe(self) -> Receipt:
        """Send the declared check, or a post without records: neither stores anything.

        Raises:
            ImporterError: as `TargetClient.probe`.
        """
        if self._check is not None:
            return read_check(self._send_check(self._check), self._answers, is_empty_post=False)
        return read_check(self._send_post(body_of((), self._form), ""), self._answers, is_empty_post=True)

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()
        if self._tokens is not None:
            self._tokens.close()

    def _send_post(self, body: bytes, key: str) -> Answer:
        own = {} if not key else {self._form.idempotency_header or "": key}
        return self._send(self._form.method, self._form.path, body, own)

    def _send_check(self, check: CheckForm) -> Answer:
        return self._send(check.method, check.path, None, {})

    def _send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        """Send a request; once more with a new token, if the token is refused."""
        token = "" if self._tokens is None else self._tokens.token()
        answer = self._wire.send(self._route(method, token), path, body=body, headers=headers)
        if answer.status == _UNAUTHORIZED and self._tokens is not None:
            route = self._route(method, self._tokens.renew(token))
            return self._wire.send(route, path, body=body, headers=headers)
        return answer

    def _route(self, method: str, token: str) -> Route:
        route = self._routes.get((method, token))
        if route is None:
            headers = self._headers(token)
            if method in ("GET", "HEAD"):
                headers = {name: value for name, value in headers.items() if not name.startswith("Content-")}
            route = self._wire.route(method, self._url, headers)
            # Those of former tokens are dropped.
            kept = {key: other for key, other in self._routes.items() if key[1] == token}
            self._routes = {**kept, (method, token): route}
        return route


def filled_headers(declaration: Declaration, secrets: Mapping[str, SecretStr], token: str) -> dict[str, str]:
    """Return the headers of every request.

    Args:
        declaration: the protocol.
        secrets: the secrets that it names.
        token: the access token; "" if there is none.

    Raises:
        SecretMissing: a secret is empty, or unfit for a header.
    """
    values = {name: header_secret(secret, name=f"secret {name}") for name, secret in secrets.items() if "." not in name}
    return headers_of(declaration.request, values | {TOKEN: token})


class _IdempotencyKeys:
    """The keys of posts without a receipt: a post that is tried again has the same, a later equal one has another.

    A key made of the body alone would let a target ignore a record that has changed and changed back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._salts: dict[str, str] = {}

    def of(self, body: bytes) -> str:
        """Return the key of a post with this body."""
        content = hashlib.sha256(body).hexdigest()[:32]
        with self._lock:
            return f"{content}-{self._salts.setdefault(content, random_texts.token_hex(8))}"

    def forget(self, key: str) -> None:
        """Note that a post has its receipt."""
        with self._lock:
            self._salts.pop(key.partition("-")[0], None)
