"""A share of the clients, for one of several code locations. Pure."""

import hashlib
import re
from dataclasses import dataclass

_WRITTEN = re.compile(r"(\d{1,4})/(\d{1,4})")


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several shares of the clients; each client is in exactly one."""

    index: int = 0
    """Its index, from 0."""
    count: int = 1
    """Number of shards."""

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @property
    def is_first(self) -> bool:
        """True for the shard that has the jobs common to all: the quarantine, and pruning the event log."""
        return self.index == 0

    def takes(self, account: str) -> bool:
        """Return whether the clients of a Mailchimp account are in this shard.

        Every shard has a claim on every account, a hash of both, and the highest claim wins. So a new shard gets its
        part from all others, and no account moves between these.

        Args:
            account: its name: the client's own unless it shares the account. All clients of an account are in the same
                shard, as only one sync at a time runs on it.
        """
        return max(range(self.count), key=lambda index: _claim(index, account)) == self.index


def parse_shard(written: str) -> Shard | None:
    """Parse a shard like `0/4`; None if it is not one."""
    found = _WRITTEN.fullmatch(written)
    if found is None:
        return None
    shard = Shard(int(found[1]), int(found[2]))
    return shard if shard.index < shard.count else None


def _claim(index: int, account: str) -> bytes:
    return hashlib.blake2b(f"{index}\n{account}".encode(), digest_size=8).digest()
