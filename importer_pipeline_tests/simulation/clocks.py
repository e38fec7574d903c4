"""Wrong clocks: a Date that is hours or years off, 1970, 9999, or two of them; and one that jumps a little."""

from email.utils import formatdate
from random import Random

from importer_pipeline.sandbox.accounts import SandboxAccount
from importer_pipeline.sandbox.faults import Fault
from importer_pipeline.sandbox.messages import SandboxAnswer, SandboxRequest
from importer_pipeline.sandbox.twists import with_date
from importer_pipeline_tests.simulation.scenario import JUMP_SECONDS, Scenario
from importer_pipeline_tests.simulation.spells import Spell, SpellDimension

_HOUR, _YEAR = 3600, 365 * 86_400


class WrongClocks(SpellDimension):
    """The Date of some or all answers of one account is wrong for a while; its servers disagree a little."""

    def __init__(self, scenario: Scenario, rng: Random) -> None:
        super().__init__(scenario, rng)
        self._account: SandboxAccount = scenario.sandbox.accounts[rng.choice(scenario.worlds).account]
        self._share = rng.choice((0.05, 0.3, 1.0))
        self._jumps = rng.choice((0, JUMP_SECONDS))
        self._lie = rng.randrange(7)
        self._spell = Spell(rng, begins=0.005, ends=0.01)
        self._account.twists.append(self._twist)

    def _twist(self, request: SandboxRequest, answer: SandboxAnswer) -> SandboxAnswer | Fault:
        now = self._account.now()
        if self._spell.is_on and self.rng.random() < self._share:
            return with_date(*self._dates(now))(request, answer)
        if self._jumps:
            return with_date(formatdate(now + self.rng.randint(-self._jumps, self._jumps), usegmt=True))(
                request, answer
            )
        return answer

    def _dates(self, now: int) -> list[str]:
        right = formatdate(now, usegmt=True)
        return [
            [formatdate(now + _YEAR, usegmt=True)],
            [formatdate(now - _YEAR, usegmt=True)],
            [formatdate(now + _HOUR, usegmt=True)],
            [formatdate(now - _HOUR, usegmt=True)],
            ["Fri, 31 Dec 9999 23:59:59 GMT"],
            ["Thu, 01 Jan 1970 00:00:00 GMT"],
            [right, formatdate(now + _YEAR, usegmt=True)],
        ][self._lie]
