"""What `alert_scene` has seen, and what of that is not as it should be."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

_MAX_DELAY_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """Whom Dagster shows to be in trouble.

    Attributes:
        table: the clients that the table of the status has above those that are well.
        checks: the clients whose checks have failed, and those that the failed checks of the status name.
    """

    table: frozenset[str]
    checks: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was seen.

    Attributes:
        in_trouble: the clients that were.
        named: whom Dagster showed when the message arrived.
        named_at_end: whom it showed when all was mended.
        messages: what the webhook accepted.
        linked: the runs to which the messages lead, by their jobs.
        said: what the tick said that met each failure of the webhook.
        asked_again: requests to the webhook by the next status, of the same clients in trouble.
        late: by schedule and sensor, by how many seconds the latest tick came too late while the webhook failed.
        late_usually: the same while the webhook worked.
        ticks: number of ticks, by schedule and sensor.
        crowding: the load of each core of the machine, at its highest. Delays are measured by it.
    """

    in_trouble: frozenset[str]
    named: Named
    named_at_end: Named
    messages: Sequence[str]
    linked: Sequence[str]
    said: Mapping[str, str]
    asked_again: int
    late: Mapping[str, float]
    late_usually: Mapping[str, float]
    ticks: Mapping[str, int]
    crowding: float

    @property
    def faults(self) -> list[str]:
        """What is not as it should be."""
        first, last = (*self.messages, "", "")[:2]
        told = frozenset(line.split()[1] for line in first.splitlines() if line.startswith("•"))
        slow = {name: late for name, late in self.late.items() if late > _MAX_DELAY_SECONDS * self.crowding}
        wrong = {
            f"the table names {_names(self.named.table)}": self.named.table != self.in_trouble,
            f"the checks name {_names(self.named.checks)}": self.named.checks != self.in_trouble,
            f"the message names {_names(told)}": told != self.in_trouble
            or not first.startswith("5 clients in trouble:"),
            f"after mending, the table names {_names(self.named_at_end.table)}": bool(self.named_at_end.table),
            f"after mending, the checks name {_names(self.named_at_end.checks)}": bool(self.named_at_end.checks),
            f"{len(self.messages)} messages": len(self.messages) != 2,
            f"the last message: {last}": not (last.startswith("Well again: ") and "All clients are well." in last),
            f"the messages lead to {self.linked}": set(self.linked) != {"incremental_sync"},
            f"{self.asked_again} requests without news": self.asked_again != 0,
            f"too late: {slow}": bool(slow),
            "a path of the webhook was shown": any("unspeakable" in text for text in self.said.values()),
        }
        return [text for text, is_wrong in wrong.items() if is_wrong]

    def __str__(self) -> str:
        lines = [f"in trouble: {_names(self.in_trouble)}"]
        lines += [f"webhook {mood}: {said}" for mood, said in self.said.items()]
        lines += [f"message {number}:\n{text}" for number, text in enumerate(self.messages, 1)]
        lines += [f"requests by the next status, of the same clients: {self.asked_again}"]
        lines += [
            f"{name:28} {count:3} ticks, late by at most {self.late.get(name, 0.0):.1f} s while the webhook failed, "
            f"{self.late_usually.get(name, 0.0):.1f} s otherwise"
            for name, count in self.ticks.items()
        ]
        lines += [f"load of each core: {self.crowding:.1f}"]
        return "\n".join(lines)


def _names(clients: Iterable[str]) -> str:
    return ", ".join(sorted(clients)) or "nobody"
