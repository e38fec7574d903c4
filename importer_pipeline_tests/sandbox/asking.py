"""A sandbox with one account and one list, and shortcuts for requests to it, for the tests of this folder."""

import json
from dataclasses import dataclass, field
from typing import Any

from importer_pipeline.sandbox.accounts import SandboxAccount
from importer_pipeline.sandbox.core import Sandbox
from importer_pipeline.sandbox.members import MemberList
from importer_pipeline.sandbox.messages import SandboxAnswer, SandboxRequest
from importer_pipeline.sandbox.target import SandboxTarget

KEY = "0123456789abcdef0123456789abcdef-us1"
TOKEN = "0123456789abcdef" * 4
TARGET_KEY = "target-key"
LIST_ID = "1a2d7ebf82"
MEMBERS = f"/3.0/lists/{LIST_ID}/members"
NOW = 1_700_000_000


@dataclass(slots=True)
class Time:
    """A clock that moves only when somebody sleeps."""

    now: float = NOW
    naps: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        """Return epoch seconds."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Move the clock."""
        self.naps.append(seconds)
        self.now += seconds


@dataclass(slots=True)
class Place:
    """A sandbox with one account, one list and one target account."""

    time: Time
    sandbox: Sandbox
    account: SandboxAccount
    members: MemberList
    target: SandboxTarget

    def get(
        self, path: str, query: dict[str, str] | None = None, *, authorization: str = f"Bearer {KEY}"
    ) -> SandboxAnswer:
        """Answer a GET."""
        return self.sandbox.answer(get(path, query, authorization=authorization))

    def page(self, **query: str) -> dict[str, Any]:
        """Return a page of members as JSON has it."""
        answer = self.get(MEMBERS, query)
        assert answer.status == 200
        return json.loads(answer.body)

    def emails(self, **query: str) -> list[str]:
        """Return the addresses on a page sorted by `last_changed`."""
        page = self.page(**{"sort_field": "last_changed", "sort_dir": "ASC", "count": "1000", **query})
        return [member["email_address"] for member in page["members"]]


def get(path: str, query: dict[str, str] | None = None, *, authorization: str = f"Bearer {KEY}") -> SandboxRequest:
    """Make a GET request."""
    return SandboxRequest(method="GET", path=path, query=query or {}, headers={"authorization": authorization})


def batch(*ids: str, key: str = TARGET_KEY, firstname: str = "Amber") -> SandboxRequest:
    """Make a post of one record for each id."""
    records = [
        {"id": one, "firstname": firstname, "lastname": "", "email": f"{one}@example.com", "status": "subscribed"}
        for one in ids
    ]
    return post(json.dumps(records).encode(), key=key)


def post(body: bytes, *, key: str = TARGET_KEY) -> SandboxRequest:
    """Make a post of any body to the target."""
    return SandboxRequest(method="POST", path="/target/record", query={}, headers={"Authorization": key}, body=body)


def place(*, ties: str = "drawn", seed: int = 0, connections: int = 10) -> Place:
    """Make an empty list in a new sandbox whose clock shows `NOW`."""
    time = Time()
    sandbox = Sandbox(clock=time, seed=seed)
    account = sandbox.add_account("acme", api_key=KEY, access_token=TOKEN, connections=connections)
    members = account.add_list(LIST_ID, ties="stable" if ties == "stable" else "drawn")
    return Place(time, sandbox, account, members, sandbox.add_target(TARGET_KEY))
