"""Clients of a sandbox: their lists and target accounts, changes of their contacts, statistics.

Statistics hold counts only: no address, name or key.
"""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from importer_pipeline.sandbox.accounts import SandboxAccount
from importer_pipeline.sandbox.compare import RecordOf, compare, default_record, record_by_list
from importer_pipeline.sandbox.core import Sandbox
from importer_pipeline.sandbox.members import ARCHIVED, MemberList
from importer_pipeline.sandbox.people import person
from importer_pipeline.sandbox.target import SandboxTarget

_CHANGES = ("name", "archive", "add", "status", "rename")
_CHANGE_SHARES = (60, 75, 90, 95, 100)
_OTHER_STATUS = {"subscribed": "unsubscribed", "unsubscribed": "subscribed"}
_FAR_NUMBER = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxClient:
    """A client as the importer would declare it.

    Attributes:
        name: the client's name.
        account: its account at Mailchimp.
        target: its account at the target.
    """

    name: str
    account: SandboxAccount
    target: SandboxTarget

    @property
    def lists(self) -> tuple[MemberList, ...]:
        """The client's audiences."""
        return tuple(self.account.lists.values())

    @property
    def record_of(self) -> RecordOf:
        """The record that the target must hold of a member, with the list in its id if there are several lists."""
        return default_record if len(self.lists) == 1 else record_by_list


class World:
    """A sandbox and its clients."""

    def __init__(self, sandbox: Sandbox, clients: Sequence[SandboxClient] = ()) -> None:
        self.sandbox = sandbox
        self.clients = tuple(clients)
        self._changes = 0

    def change(self, n: int) -> None:
        """Make n changes to contacts drawn at random, now."""
        lists = [member_list for client in self.clients for member_list in client.lists]
        with self.sandbox.lock:
            for _ in range(n if lists else 0):
                self._changes += 1
                self._change_one(self.sandbox.random.choice(lists))

    def compare(self) -> dict[str, Any]:
        """Count how each client's target differs from Mailchimp; `kept` is true if none does."""
        clients = {client.name: self._compared(client) for client in self.clients}
        return {"kept": all(client["kept"] for client in clients.values()), "clients": clients}

    def stats(self) -> dict[str, Any]:
        """Return the traffic of each account and each target, and the CPU time of the process."""
        now = self.sandbox.clock()
        accounts, targets = self.sandbox.accounts.values(), self.sandbox.targets.values()
        return {
            "now": now,
            "cpu_seconds": time.process_time(),
            "changes": self._changes,
            "accounts": {
                account.name: {
                    **dataclasses.asdict(account.traffic.figures(now)),
                    "contacts": {list_id: len(listed) for list_id, listed in account.lists.items()},
                }
                for account in accounts
            },
            "targets": {
                target.name: {
                    **dataclasses.asdict(target.traffic.figures(now)),
                    "records": len(target.records), "posts": target.posts, "stored": target.stored,
                }
                for target in targets
            },
        }  # fmt: skip

    def forget(self) -> None:
        """Reset the statistics."""
        for account in self.sandbox.accounts.values():
            account.traffic.reset()
        for target in self.sandbox.targets.values():
            target.traffic.reset()

    def _compared(self, client: SandboxClient) -> dict[str, Any]:
        difference = compare(client.lists, client.target, record_of=client.record_of)
        counts = {name: len(ids) for name, ids in dataclasses.asdict(difference).items()}
        return {"kept": difference.kept, "contacts": sum(map(len, client.lists)), **counts}

    def _change_one(self, member_list: MemberList) -> None:
        random = self.sandbox.random
        kind = random.choices(_CHANGES, cum_weights=_CHANGE_SHARES)[0]
        someone = person(random, _FAR_NUMBER + self._changes)
        names = {"FNAME": someone.firstname, "LNAME": someone.lastname}
        member = member_list.any_member()
        if member is None or kind == "add":
            member_list.add(someone.email, merge_fields=names)
            return
        handle = member.contact_id
        if kind == "archive" and member.status != ARCHIVED:
            member_list.archive(handle)
        elif member.status == ARCHIVED:
            member_list.unarchive(handle)
        elif kind == "rename" and member.email:
            member_list.rename(handle, someone.email)
        elif kind == "status" and member.status in _OTHER_STATUS:
            member_list.update(handle, status=_OTHER_STATUS[member.status])
        else:
            member_list.update(handle, merge_fields=names)
