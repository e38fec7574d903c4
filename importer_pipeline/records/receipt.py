"""The target's answer to a batch of records: how many it accepted and, if it names them, which ones it did not."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedRecord:
    """A record that the target refuses by name.

    Attributes:
        id: the record's id.
        reason: the target's reason, without personal data; "" if it gives none.
    """

    id: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The result of sending a batch.

    Attributes:
        sent: how many records were sent, each id once.
        accepted: how many of them the target accepted.
        refused: those that it refuses by name.
        again: ids of those that it neither accepted nor refused: they have to be sent again.
        pause_seconds: the pause that it asks for before the next post.
    """

    sent: int
    accepted: int
    refused: tuple[RefusedRecord, ...] = ()
    again: frozenset[str] = frozenset()
    pause_seconds: float = 0.0

    @property
    def complete(self) -> bool:
        """True if all records were accepted."""
        return self.accepted == self.sent

    @property
    def names_the_others(self) -> bool:
        """True if it is known of each record whether it was accepted, refused, or has to be sent again."""
        return self.accepted + len(self.refused) + len(self.again) == self.sent
