"""The sandbox itself: accounts at Mailchimp, accounts at the target, and a right answer to any request.

No limits, faults or waiting here: `answer` is computed at once and is true at that moment. What happens to a request on
its way is in `passage`, which the server and the in-process adapter share.
"""

import base64
import binascii
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from email.utils import formatdate
from random import Random

from importer_pipeline.sandbox.accounts import SandboxAccount
from importer_pipeline.sandbox.mailchimp import ROOT, answer_mailchimp
from importer_pipeline.sandbox.messages import JSON, SandboxAnswer, SandboxRequest, encoded
from importer_pipeline.sandbox.protocols import SEED, Protocol
from importer_pipeline.sandbox.target import Refusal, SandboxTarget, answer_target

TARGET_ROOT = "/target"
METADATA = "/oauth2/metadata"


class Sandbox:
    """One state, safe from any thread.

    Args:
        clock: epoch seconds, for Mailchimp's stamps and its `Date` header.
        seed: everything random follows from it and from the order of the calls.

    Attributes:
        accounts: Mailchimp accounts by name.
        targets: accounts at the target by name.
        random: the source of randomness; use it under `lock`.
        lock: to hold while the state is read or changed.
    """

    def __init__(self, clock: Callable[[], float] = time.time, seed: int = 0) -> None:
        self.clock = clock
        self.random = Random(seed)
        self.lock = threading.RLock()
        self.accounts: dict[str, SandboxAccount] = {}
        self._opened: dict[str, SandboxAccount] = {}
        self.targets: dict[str, SandboxTarget] = {}
        self._entered: dict[str, SandboxTarget] = {}

    def add_account(
        self, name: str, *, api_key: str, access_token: str | None = None, connections: int = 10,
        clock_offset_seconds: float = 0.0,
    ) -> SandboxAccount:  # fmt: skip
        """Add a Mailchimp account without lists, opened by an API key and optionally by an OAuth token."""
        account = SandboxAccount(
            name, secrets=(api_key, access_token or ""), connections=connections, clock=self.clock, random=self.random,
            lock=self.lock, clock_offset_seconds=clock_offset_seconds,
        )  # fmt: skip
        with self.lock:
            self.accounts[name] = account
        return account

    def add_target(
        self,
        api_key: str,
        *,
        name: str = "",
        refuse: Sequence[Refusal] = (),
        counts_duplicates_once: bool = True,
        protocol: Protocol = SEED,
    ) -> SandboxTarget:
        """Add an empty account at the target; all of them share one URL and are distinguished by their key."""
        with self.lock:
            name = name or f"target-{len(self.targets) + 1}"
            target = SandboxTarget(
                name, api_key=api_key, refuse=refuse, counts_duplicates_once=counts_duplicates_once, lock=self.lock
            )
            target.protocol = protocol
            self.targets[name] = target
        return target

    def account_of(self, request: SandboxRequest) -> SandboxAccount | None:
        """Return the account that the request's key or token opens: Basic with any user, or Bearer (D)."""
        secret = _secret(request.header("Authorization"))
        known = self._opened.get(secret)  # There may be thousands.
        if known is None or secret not in known.secrets:
            known = next((account for account in self.accounts.values() if secret and secret in account.secrets), None)
        if known is not None:
            self._opened[secret] = known
        return known

    def target_of(self, request: SandboxRequest) -> SandboxTarget | None:
        """Return the target account whose key is the request's Authorization header."""
        key = request.header("Authorization")
        known = self._entered.get(key)
        if known is None or known.authorization != key:
            known = next((target for target in self.targets.values() if key and key == target.authorization), None)
        if known is not None:
            self._entered[key] = known
        return known

    def answer(self, request: SandboxRequest) -> SandboxAnswer:
        """Return the right answer to a request, true at this moment."""
        with self.lock:
            if is_target(request):
                return answer_target(request, self.target_of(request), now=self.clock())
            account = self.account_of(request)
            if request.path == METADATA:
                return self._metadata(request, account)
            now = account.now() if account else int(self.clock())
            return answer_mailchimp(request, account, now=now, request_id=self.request_id())

    def request_id(self) -> str:
        """Return a new request id."""
        with self.lock:
            return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def _metadata(self, request: SandboxRequest, account: SandboxAccount | None) -> SandboxAnswer:
        """Say which data center an OAuth token belongs to; a bad token gets 200 with an error in the body (V)."""
        document: dict[str, object] = {"error": "invalid_token"}
        if account is not None and request.header("Authorization").startswith("OAuth "):
            document = {
                "dc": "us1", "role": "owner", "accountname": account.name, "user_id": 1, "login_url": "",
                "api_endpoint": f"http://{request.header('Host')}",
            }  # fmt: skip
        headers = {"Content-Type": JSON, "Date": formatdate(self.clock(), usegmt=True)}
        return SandboxAnswer(status=200, headers=headers, body=encoded(document))


def is_target(request: SandboxRequest) -> bool:
    """Return whether the request goes to the target and not to Mailchimp."""
    return request.path.startswith(f"{TARGET_ROOT}/")


def is_mailchimp(request: SandboxRequest) -> bool:
    """Return whether the request goes to Mailchimp's API, where requests in progress are counted."""
    return request.path.startswith(ROOT)


def _secret(authorization: str) -> str:
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() != "basic":
        return value.strip() if scheme.lower() in ("bearer", "oauth") else ""
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""
