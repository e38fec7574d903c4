"""Spells: something begins at any moment, lasts for a while or for ever, and may begin again."""

from random import Random

from importer_pipeline_tests.simulation.scenario import Dimension

_STEPS_OF_A_PAUSE = 20


class Spell:
    """Something that is on or off.

    Args:
        rng: its own randomness.
        begins: probability that it begins at a step of a process; between two runs it is twenty times as much.
        ends: probability that it ends at a step, likewise; 0 if it lasts for ever once it has begun.
    """

    def __init__(self, rng: Random, *, begins: float, ends: float) -> None:
        self._rng = rng
        self._begins = begins
        self._ends = ends
        self.is_on = False
        self.has_been = False
        """True if it has ever been on."""

    def is_or_was_on(self, *, ever: bool) -> bool:
        """Return whether it is on or, with `ever`, has been at some time."""
        return self.has_been if ever else self.is_on

    def pass_time(self, *, steps: int = 1) -> bool:
        """Let so many steps pass; return whether it has begun."""
        if self._rng.random() >= (self._ends if self.is_on else self._begins) * steps:
            return False
        self.is_on = not self.is_on
        self.has_been |= self.is_on
        return self.is_on

    def heal(self) -> None:
        """End it, and let it not begin again, unless it lasts for ever."""
        if self._ends:
            self._begins, self.is_on = 0.0, False


class SpellDimension(Dimension):
    """A dimension that is on while its spell is. Subclasses set the spell."""

    _spell: Spell

    def step(self) -> None:
        """Begin or end, perhaps."""
        self._spell.pass_time()

    def pause(self) -> None:
        """Begin or end, perhaps."""
        self._spell.pass_time(steps=_STEPS_OF_A_PAUSE)

    def heal(self) -> None:
        """End, unless the spell lasts for ever."""
        self._spell.heal()
