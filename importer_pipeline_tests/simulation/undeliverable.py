"""Faults of a target that depend on the content of a batch, with any status."""

from dataclasses import replace
from random import Random

from importer_pipeline.sandbox.faults import Fault, Rule
from importer_pipeline.sandbox.messages import SandboxRequest
from importer_pipeline.sandbox.protocols import TargetRecord
from importer_pipeline.sandbox.target import batches_with
from importer_pipeline.sandbox.twists import edge_page
from importer_pipeline_tests.simulation.scenario import Scenario, World
from importer_pipeline_tests.simulation.spells import Spell, SpellDimension

_FAULTS = (
    Fault.ERROR_500,
    Fault.BLOCKED_HTML,
    Fault.RESET,
    Fault.CUT,
    Fault.HANG,
    edge_page(502),
    edge_page(403),
    edge_page(451),
)


class UndeliverableRecords(SpellDimension):
    """A firewall before a target, or the target itself, fails for particular records: before storing or after."""

    def __init__(self, scenario: Scenario, rng: Random) -> None:
        super().__init__(scenario, rng)
        self._target = rng.choice(scenario.worlds).target
        self._salt, self._share = rng.randrange(1 << 16), rng.choice((15, 40))
        self._holds_bad = batches_with(self._is_bad)
        self._rule = Rule(applies=self._applies, fault=rng.choice(_FAULTS), after_storing=rng.random() < 0.3)
        self._spell = Spell(rng, begins=0.01, ends=0.0 if rng.random() < 0.5 else 0.005)
        self._add_rule()

    def step(self) -> None:
        """Begin or end, perhaps."""
        super().step()
        self._add_rule()

    def pause(self) -> None:
        """Begin or end, perhaps."""
        super().pause()
        self._add_rule()

    def at_rest(self) -> None:
        """Add the rule again: the fault plan has been replaced."""
        self._add_rule()

    def undeliverable(self, world: World, record: TargetRecord, *, ever: bool) -> bool:
        """Return whether the rule is for the record and its spell is on."""
        is_so = self._spell.is_or_was_on(ever=ever)
        return is_so and world.target is self._target and self._is_bad(record)

    def _add_rule(self) -> None:
        """Add the rule to the target's fault plan, which others replace."""
        if self._rule not in self._target.fault_plan.rules:
            self._target.fault_plan = replace(self._target.fault_plan, rules=(self._rule,))

    def _applies(self, request: SandboxRequest) -> bool:
        return self._spell.is_on and self._holds_bad(request)

    def _is_bad(self, record: TargetRecord) -> bool:
        return Random(f"{self._salt}{record.id}").randrange(self._share) == 0
