"""Intermediaries that answer in Mailchimp's place, with any status, to some or all requests, for a while."""

from random import Random

from importer_pipeline.sandbox.messages import SandboxAnswer, SandboxRequest
from importer_pipeline.sandbox.twists import edge_json, edge_page
from importer_pipeline_tests.simulation.scenario import Scenario
from importer_pipeline_tests.simulation.spells import Spell, SpellDimension

_STATUSES = (400, 401, 403, 404, 404, 404, 405, 410, 431, 451, 503)


class Edges(SpellDimension):
    """An edge answers for one account, or for all of them, as it does where an address is blocked."""

    def __init__(self, scenario: Scenario, rng: Random) -> None:
        super().__init__(scenario, rng)
        status = rng.choice(_STATUSES)
        self._answer = edge_json(status) if rng.random() < 0.3 else edge_page(status)
        self._share = rng.choice((0.05, 0.5, 1.0, 1.0))
        self._only_by_id = rng.random() < 0.3
        self._spell = Spell(rng, begins=0.005, ends=0.02)
        names = {world.account for world in scenario.worlds}
        if rng.random() < 0.5:
            names = {rng.choice(sorted(names))}
        for name in sorted(names):
            scenario.sandbox.accounts[name].twists.append(self._twist)

    def _twist(self, request: SandboxRequest, answer: SandboxAnswer) -> SandboxAnswer:
        if not self._spell.is_on or self.rng.random() >= self._share:
            return answer
        if self._only_by_id and request.path.endswith("/members"):
            return answer
        return SandboxAnswer(
            status=self._answer.status, headers={**answer.headers, **self._answer.headers}, body=self._answer.body
        )
