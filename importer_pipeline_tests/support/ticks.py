"""The ticks of schedules and sensors as a daemon made them: what they said, and how late they came."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorState, InstigatorTick, SensorInstigatorData, TickStatus

_LOOK_EVERY_SECONDS = 5.0
"""How often the daemon looks which sensors are due."""


class Ticks:
    """The ticks; only those that have ended are counted or judged.

    Args:
        instance: the daemon's.
    """

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance

    def of(self, name: str, *, after: float | None = None) -> Sequence[InstigatorTick]:
        """Return the ticks of a schedule or sensor that began after a moment, or all; the newest first."""
        states = [state for state in self._instance.all_instigator_state() if state.instigator_name == name]
        return [tick for state in states for tick in self._all(state, after=after)]

    def skipped(self, name: str, *, after: float) -> list[str]:
        """Return why ticks of a schedule or sensor started no run, of those that began after a moment."""
        return [tick.skip_reason or "" for tick in reversed(self.of(name, after=after)) if _has_ended(tick)]

    def counts(self) -> Mapping[str, int]:
        """Return how many there were, by schedule and sensor."""
        return {it.instigator_name: len(self._ended(it)) for it in self._instance.all_instigator_state()}

    def late(self, *periods: tuple[float, float]) -> Mapping[str, float]:
        """Return by how many seconds the latest tick in these periods came too late, by schedule and sensor.

        A schedule is in time if its tick ends when it is due, a sensor if it begins when the daemon looks next.
        """
        found = dict[str, float]()
        for state in self._instance.all_instigator_state():
            counted = [by for at, by in self._late(state) if any(first < at < last for first, last in periods)]
            found |= {state.instigator_name: max(counted)} if counted else {}
        return found

    def _late(self, state: InstigatorState) -> Iterator[tuple[float, float]]:
        """Yield when a tick was due or began, and by how much it was late."""
        ticks, data = self._ended(state), state.instigator_data
        if isinstance(data, SensorInstigatorData):
            for earlier, later in pairwise(ticks):
                due = earlier.timestamp + (data.min_interval or 0) + _LOOK_EVERY_SECONDS
                yield later.timestamp, max(0.0, later.timestamp - due)
        else:
            yield from ((tick.timestamp, (tick.end_timestamp or tick.timestamp) - tick.timestamp) for tick in ticks)

    def _ended(self, state: InstigatorState) -> Sequence[InstigatorTick]:
        """Return those of one schedule or sensor that have ended, the oldest first."""
        return [tick for tick in reversed(self._all(state)) if _has_ended(tick)]

    def _all(self, state: InstigatorState, *, after: float | None = None) -> Sequence[InstigatorTick]:
        return self._instance.get_ticks(state.instigator_origin_id, state.selector_id, after=after)


def _has_ended(tick: InstigatorTick) -> bool:
    return tick.status is not TickStatus.STARTED
