"""Edits of the clients file at any moment: an audience names another list, target or mapping, or the one before."""

from random import Random

from importer_pipeline_tests.simulation.draw import add_sink, add_source, refusals_of
from importer_pipeline_tests.simulation.scenario import Dimension, Scenario, Sink, World


class Edits(Dimension):
    """The clients file is edited now and then, also while something is imported. A run goes by the file as it found it."""

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
        """An edit in the middle of a sync is rare."""
        if self.rng.random() < self._often:
            self._edit()

    def pause(self) -> None:
        """Between two runs it is not."""
        if self.rng.random() < 0.05:
            self._edit()

    def _edit(self) -> None:
        world = self.rng.choice(self.scenario.worlds)
        kind = self.rng.random()
        if kind < 0.4:
            world.point(is_swapped=not world.is_swapped)
        elif kind < 0.7:
            source, (other,) = world.source, world.other_sources
            world.point(source=other)
            world.other_sources = (source,)
        else:
            for sibling in self.scenario.worlds:
                if sibling.name.client == world.name.client:
                    _change_target(sibling)


def _change_target(world: World) -> None:
    """All audiences of a client have one target."""
    sink, (other,) = world.sink, world.other_sinks
    world.point(sink=other)
    world.other_sinks = (sink,)
