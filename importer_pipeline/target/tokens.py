"""Access tokens by OAuth's client credentials: requested once, kept until they expire, renewed when one is refused."""

import base64
import threading
import time
from urllib.parse import quote, urlencode

from pydantic import SecretStr

from importer_pipeline.errors import BrokenAnswer, TargetKeyRefused
from importer_pipeline.http.connections import Adapter, shared_connections
from importer_pipeline.http.json_bodies import small_document
from importer_pipeline.http.wire import Wire
from importer_pipeline.target.client import TargetLimits
from importer_pipeline.target.declaration import TokenForm
from importer_pipeline.target.meanings import fault_error, meaning_of, status_error

_EARLY_SECONDS = 60.0
_USUAL_SECONDS = 3600.0


class TokenSource:
    """The access token of one account at a target. Threads may share it.

    Args:
        form: where and how it is requested.
        client_id: the client's id.
        client_secret: the client's secret.
        limits: how long and how much an answer may take.
        adapter: what carries the requests; None for the connections to its host.
    """

    def __init__(
        self,
        form: TokenForm,
        client_id: SecretStr,
        client_secret: SecretStr,
        *,
        limits: TargetLimits,
        adapter: Adapter | None = None,
    ) -> None:
        self._form = form
        self._id = client_id.get_secret_value()
        self._secret = client_secret.get_secret_value()
        self._wire = Wire(limits=limits, error_of=fault_error, adapter=adapter or shared_connections(form.url))
        self._lock = threading.Lock()
        self._token = ""
        self._ends_at = 0.0

    def token(self) -> str:
        """Return a token that has not expired; request one if there is none.

        Raises:
            TargetKeyRefused: the id or the secret is refused.
            ImporterError: there is no token for another reason.
        """
        with self._lock:
            if not self._token or time.monotonic() >= self._ends_at:
                self._request()
            return self._token

    def renew(self, refused: str) -> str:
        """Return another token than one that was refused; other threads may have renewed it already."""
        with self._lock:
            if self._token == refused:
                self._request()
            return self._token

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()

    def _request(self) -> None:
        form = self._form
        fields = {"grant_type": "client_credentials", "scope": form.scope, "audience": form.audience}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if form.is_in_body:
            fields |= {"client_id": self._id, "client_secret": self._secret}
        else:
            pair = f"{quote(self._id, safe='')}:{quote(self._secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        body = urlencode({key: value for key, value in fields.items() if value}).encode()
        answer = self._wire.send(self._wire.route("POST", form.url, headers), "", body=body)
        if answer.status in (400, 401, 403):
            raise TargetKeyRefused(
                f"the token endpoint refuses the client's id or secret (HTTP {answer.status})",
                remedy="check the target's oauth section",
            )
        if not 200 <= answer.status < 300:
            raise status_error(answer, meaning_of(answer.status), "the token endpoint gives no token")
        document = small_document(answer.body)
        token, seconds = document.get("access_token"), document.get("expires_in")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token.strip():
            raise BrokenAnswer(f"expected an access token from the token endpoint, got none (HTTP {answer.status})")
        lasts = float(seconds) if isinstance(seconds, int | float) and seconds > 0 else _USUAL_SECONDS
        self._token = token
        self._ends_at = time.monotonic() + max(lasts / 2, lasts - _EARLY_SECONDS)
