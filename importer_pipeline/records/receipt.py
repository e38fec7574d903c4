"""The target's answer to a batch of records, as numbers."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The result of sending a batch.

    Attributes:
        sent: how many records were sent, each id once.
        accepted: how many of them the target accepted.
    """

    sent: int
    accepted: int

    @property
    def complete(self) -> bool:
        """True if all records were accepted."""
        return self.accepted == self.sent
