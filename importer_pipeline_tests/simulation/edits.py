"""Edits of the clients file at any moment: an audience names another list, target or mapping, or the former one."""

from collections.abc import Callable
from random import Random

from importer_pipeline_tests.simulation.draw import add_sink, add_source, refusals_of
from importer_pipeline_tests.simulation.scenario import Dimension, Scenario, Sink, Source, World


class Edits(Dimension):
    """The clients file is edited from time to time, even during an import. A run uses the file as it found it."""

    def __init__(self, scenario: Scenario, rng: Random) -> None:
        super().__init__(scenario, rng)
        self._often = rng.choice((0.0005, 0.002, 0.01))
        second: dict[str, Sink] = {}
        for world in scenario.worlds:
            account = scenario.sandbox.accounts[world.account]
            if world.account not in second:
                second[world.account] = add_sink(
                    scenario,
                    f"target-{rng.getrandbits(64):016x}",
                    name=f"{world.account}-second",
                    url=f"http://sandbox/{world.account}/second",
                    refusals=refusals_of(rng),
                )
            world.other_sinks = (second[world.account],)
            world.other_sources = (add_source(scenario, account, f"{world.source.list_id}-second", rng),)

    def step(self) -> None:
        """Edit rarely in the middle of a sync."""
        if self.rng.random() < self._often:
            self.edit()

    def pause(self) -> None:
        """Edit more often between two runs."""
        if self.rng.random() < 0.05:
            self.edit()

    def edit(self) -> Callable[[], None]:
        """Edit something; return a function that edits it back."""
        world = self.rng.choice(self.scenario.worlds)
        siblings = [it for it in self.scenario.worlds if it.name.client == world.name.client]
        kind = self.rng.random()
        before = [(it, it.source, it.sink, it.is_swapped) for it in siblings]
        if kind < 0.4:
            world.point(is_swapped=not world.is_swapped)
        elif kind < 0.7:
            _name(world, source=world.other_sources[0])
        else:
            # All audiences of a client have one target.
            for it in siblings:
                _name(it, sink=it.other_sinks[0])

        def back() -> None:
            for it, source, sink, is_swapped in before:
                _name(it, source=source, sink=sink)
                it.point(is_swapped=is_swapped)

        return back


def _name(world: World, *, source: Source | None = None, sink: Sink | None = None) -> None:
    """Name another list or target in the clients file, and keep the present one as the other."""
    if source is not None and source is not world.source:
        world.other_sources = (world.source,)
        world.point(source=source)
    if sink is not None and sink.target is not world.sink.target:
        world.other_sinks = (world.sink,)
        world.point(sink=sink)
