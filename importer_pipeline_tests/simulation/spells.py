"""Something that begins at any moment, goes on for a while, and may begin again."""

from random import Random


class Spell:
    """Whether it goes on now.

    Args:
        rng: its chance.
        begins: probability that it begins at a step of a process; between two runs it is twenty times as much.
        ends: probability that it ends at a step, the same.
    """

    def __init__(self, rng: Random, *, begins: float, ends: float) -> None:
        self._rng = rng
        self._begins = begins
        self._ends = ends
        self.is_on = False
        self.has_been = False
        """Whether it has ever gone on."""

    def pass_time(self, *, steps: int = 1) -> bool:
        """Let so many steps pass; returns whether it has begun."""
        if self._rng.random() >= (self._ends if self.is_on else self._begins) * steps:
            return False
        self.is_on = not self.is_on
        self.has_been |= self.is_on
        return self.is_on

    def end(self) -> None:
        """It is over."""
        self._begins, self.is_on = 0.0, False
