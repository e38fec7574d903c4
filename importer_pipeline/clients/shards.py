"""A share of the clients, for one of several code locations. Pure."""

import hashlib
import re
from dataclasses import dataclass

_WRITTEN = re.compile(r"(\d{1,4})/(\d{1,4})")


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several shares of the clients, that together are all of them, each once."""

    index: int = 0
    """Which one, from 0 on."""
    count: int = 1
    """How many there are."""

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @property
    def is_first(self) -> bool:
        """True if it is the one that has what there is once: the quarantine of all, and keeping the event log small."""
        return self.index == 0

    def takes(self, account: str) -> bool:
        """Return whether the clients on a Mailchimp account are of this share.

        Every shard has a claim on every account, by a hash of both, and the highest one wins. So one shard more takes its part
        from all others, and no account goes from one of these to another.

        Args:
            account: its name: a client's own unless it shares the account. All clients on one account are in one share, since
                one sync at a time works on it.
        """
        return max(range(self.count), key=lambda index: _claim(index, account)) == self.index


def parse_shard(written: str) -> Shard | None:
    """Return the shard that is written like `0/4`; None if it is none."""
    found = _WRITTEN.fullmatch(written)
    if found is None:
        return None
    shard = Shard(int(found[1]), int(found[2]))
    return shard if shard.index < shard.count else None


def _claim(index: int, account: str) -> bytes:
    return hashlib.blake2b(f"{index}\n{account}".encode(), digest_size=8).digest()
