"""A Mailchimp account: its keys, its lists, its faults."""

import threading
from collections.abc import Callable, Sequence
from random import Random

from importer_pipeline.sandbox.faults import FaultPlan
from importer_pipeline.sandbox.listing import Ties
from importer_pipeline.sandbox.members import MemberList
from importer_pipeline.sandbox.traffic import Traffic
from importer_pipeline.sandbox.twists import Twist

DEFAULT_MERGE_FIELDS = ("FNAME", "LNAME", "ADDRESS", "PHONE", "BIRTHDAY")


class SandboxAccount:
    """One account at Mailchimp, with at most `concurrency` requests in progress.

    Attributes:
        name: its name in the sandbox's statistics.
        secrets: the API keys and access tokens that open it; remove one to revoke it.
        disabled: True if the account is deactivated: 403 to everything (U).
        fault_plan: the faults of its answers; may be changed at any time.
        twists: applied to its right answers, one after the other; may be changed at any time.
        clock_offset_seconds: by how much the account's own clock is ahead.
        lists: its lists by id.
        traffic: counts of its requests.
    """

    def __init__(
        self, name: str, *, secrets: Sequence[str], connections: int, clock_offset_seconds: float,
        clock: Callable[[], float], random: Random, lock: threading.RLock,
    ) -> None:  # fmt: skip
        self.name = name
        self.secrets = {secret for secret in secrets if secret}
        self.disabled = False
        self.fault_plan = FaultPlan()
        self.twists: list[Twist] = []
        self.clock_offset_seconds = clock_offset_seconds
        self.lists: dict[str, MemberList] = {}
        self.traffic = Traffic(connections)
        self._clock = clock
        self._random = random
        self._lock = lock

    def __repr__(self) -> str:
        return f"SandboxAccount({self.name!r})"

    def now(self) -> int:
        """Return the time by the account's own clock, in whole epoch seconds."""
        return int(self._clock() + self.clock_offset_seconds)

    def add_list(
        self, list_id: str, *, name: str = "", merge_fields: Sequence[str] = DEFAULT_MERGE_FIELDS, ties: Ties = "drawn"
    ) -> MemberList:
        """Add an empty list.

        Args:
            list_id: Mailchimp's are ten hexadecimal digits.
            name: its name; the id if empty.
            merge_fields: the tags of its merge fields, in order.
            ties: the order among members of one second: drawn at each request, or stable.
        """
        added = MemberList(
            list_id, name=name or list_id, merge_fields=merge_fields, ties=ties, now=self.now, random=self._random,
            lock=self._lock,
        )  # fmt: skip
        with self._lock:
            self.lists[list_id] = added
        return added
