"""Runs that may take so long and no longer: what is left when their time is up is the next run's."""

import math
from dataclasses import replace
from random import Random

from importer_pipeline_tests.simulation.scenario import Dimension, Scenario


class TimeBudgets(Dimension):
    """Every sync has a time budget, and leaves audiences of which nothing comes after a while."""

    def __init__(self, scenario: Scenario, rng: Random) -> None:
        super().__init__(scenario, rng)
        self._patient = scenario.limits
        scenario.limits = replace(
            scenario.limits, run_seconds=rng.choice((10.0, 60.0, 300.0)), stall_seconds=rng.choice((60.0, 300.0, 900.0))
        )

    def heal(self) -> None:
        """Give runs the time that they need."""
        self.scenario.limits = replace(
            self.scenario.limits, run_seconds=math.inf, stall_seconds=self._patient.stall_seconds
        )
