"""The target's answer to a batch of records, as numbers."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of a batch.

    Attributes:
        sent: how many records went out, each id once.
        accepted: how many of them the target took.
    """

    sent: int
    accepted: int

    @property
    def complete(self) -> bool:
        """Whether no record was refused."""
        return self.accepted == self.sent
