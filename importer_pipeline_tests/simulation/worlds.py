"""The dimensions of a simulated world: each is drawn by itself, so that all combinations occur.

A dimension does not affect what the seed draws otherwise. Its effects are in its module, its frequency is here.
"""

from collections.abc import Collection, Mapping
from random import Random
from typing import NamedTuple

from importer_pipeline_tests.simulation.budgets import TimeBudgets
from importer_pipeline_tests.simulation.clocks import WrongClocks
from importer_pipeline_tests.simulation.declared_targets import DeclaredTargetWorld
from importer_pipeline_tests.simulation.edges import Edges
from importer_pipeline_tests.simulation.edits import Edits
from importer_pipeline_tests.simulation.rates import RateLimits
from importer_pipeline_tests.simulation.scenario import Dimension, Scenario
from importer_pipeline_tests.simulation.undeliverable import UndeliverableRecords
from importer_pipeline_tests.simulation.unreadable import DeepOffsets, HiddenMembers, UnreadableMembers, WrongTotals


class TwoAtOnce(Dimension):
    """Jobs run at the same time on one history: hourly changes, first syncs, and what people launch by hand."""


class ManyRetries(Dimension):
    """The quarantine is redriven hundreds of times between two ticks, while nothing of it can be imported."""


class _Drawn(NamedTuple):
    """A dimension, and how often it is on."""

    kind: type[Dimension]
    share: float
    """Of the seeds; 0 for those that are on only where they are asked for."""


WORLDS: Mapping[str, _Drawn] = {
    "two at once": _Drawn(TwoAtOnce, 0.3),
    "edits": _Drawn(Edits, 0.2),
    "four target protocols": _Drawn(DeclaredTargetWorld, 0.2),
    "unreadable members": _Drawn(UnreadableMembers, 0.05),
    "deep offsets": _Drawn(DeepOffsets, 0.06),
    "wrong totals": _Drawn(WrongTotals, 0.05),
    "undeliverable records": _Drawn(UndeliverableRecords, 0.06),
    "rate limits": _Drawn(RateLimits, 0.06),
    "lying clocks": _Drawn(WrongClocks, 0.06),
    "edges": _Drawn(Edges, 0.06),
    "many retries": _Drawn(ManyRetries, 0.02),
    "hidden members": _Drawn(HiddenMembers, 0.03),
    "time budgets": _Drawn(TimeBudgets, 0.1),
}
"""All of them, by the name that the runner takes."""


def widen(scenario: Scenario, seed: int, *, forced: Collection[str]) -> None:
    """Draw the dimensions of a seed.

    Args:
        scenario: the scenario of the seed.
        seed: the seed.
        forced: those that are on whatever is drawn.
    """
    if forced:
        scenario.is_calm = False
    for name, drawn in WORLDS.items():
        rng = Random(f"{seed} {name}")
        is_on = rng.random() < drawn.share and not scenario.is_calm
        if is_on or name in forced:
            scenario.dimensions[name] = drawn.kind(scenario, rng)
