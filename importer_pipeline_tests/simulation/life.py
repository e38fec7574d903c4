"""The state that outlives the processes of a scenario: the world, the history, the locks."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.planning.chain import View
from importer_pipeline_tests.simulation.scenario import Scenario, World
from importer_pipeline_tests.support.memory_history import MemoryHistory


class Locks:
    """The locks of all accounts; the holder is any object that takes them."""

    def __init__(self) -> None:
        self._holders: dict[str, object] = {}

    def take(self, holder: object, accounts: Iterable[str]) -> set[str]:
        """Lock those of the accounts that are free; return those that the holder has now."""
        return {account for account in accounts if self._holders.setdefault(account, holder) is holder}

    def is_held(self, holder: object, account: str) -> bool:
        """Return whether the holder has the account."""
        return self._holders.get(account) is holder

    def release(self, holder: object, account: str) -> None:
        """Unlock the account if the holder has it."""
        if self.is_held(holder, account):
            del self._holders[account]

    def release_all(self, holder: object) -> None:
        """Unlock all accounts of the holder."""
        for account in [account for account, it in self._holders.items() if it is holder]:
            del self._holders[account]


@dataclass(eq=False, kw_only=True)
class Life:
    """The state that outlives the processes of a scenario."""

    scenario: Scenario
    worlds: dict[AudienceName, World]
    history: MemoryHistory = field(default_factory=MemoryHistory)
    locks: Locks = field(default_factory=Locks)
    taken_at: dict[str, float] = field(default_factory=dict[str, float])
    """Start of the run that took each snapshot, by id."""
    by_hand: set[str] = field(default_factory=set[str])
    """Snapshots of which windows were launched by hand."""
    in_flight: Counter[str] = field(default_factory=Counter[str])
    """Requests in flight by account, of all processes."""
    happened: Counter[str] = field(default_factory=Counter[str])

    @property
    def view(self) -> View:
        """The evidence that counts now."""
        scenario = self.scenario
        return View(now=scenario.clock.now, oldest=0, tolerance_seconds=scenario.limits.clock_tolerance_seconds)
