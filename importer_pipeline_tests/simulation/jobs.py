"""What Dagster's runs do: each takes the accounts that are free, and waits for the others or leaves them; several at once."""

from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from enum import Enum

from importer_pipeline.engine.audience_plan import AudiencePlan
from importer_pipeline.engine.outcomes import AudienceDone, FingerprintChanged
from importer_pipeline.errors import SnapshotUnusable
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.planning.requests import AudienceRequest, Request
from importer_pipeline.planning.resolver import Resolver
from importer_pipeline_tests.simulation.life import Life
from importer_pipeline_tests.simulation.process import Died, Process
from importer_pipeline_tests.simulation.scenario import World
from importer_pipeline_tests.support.memory_history import MemoryHistory

_LOOK_AGAIN_SECONDS = 3.0

Waiting = list[tuple[AudienceName, Request]]
"""What is still to be done, in its order. Of several with one audience, each has a turn of its own."""


class WhenBusy(Enum):
    """What is done about accounts that another job has."""

    WAIT = "come again"
    LEAVE = "leave them to a later job"


@dataclass(kw_only=True)
class JobEnd:
    """What came of a job, as far as it came before it died."""

    done: dict[AudienceName, AudienceDone] = field(default_factory=dict[AudienceName, AudienceDone])
    """Of an audience that had several turns, the last."""
    unusable: list[AudienceName] = field(default_factory=list[AudienceName])
    """Whose newest snapshot can't have the windows that were asked for."""
    left: list[AudienceName] = field(default_factory=list[AudienceName])
    """What another job had."""


Job = Generator[float, None, JobEnd]
"""A job; yields up to when nothing will happen in it."""


class _Run:
    """One job: the clients file as it found it, and its locks."""

    def __init__(self, life: Life, *, changes: float, deaths: float) -> None:
        self._life = life
        self._worlds = {name: copy(world) for name, world in life.worlds.items()}
        self._changes = changes
        self._deaths = deaths
        self.end = JobEnd()

    def go(self, waiting: Waiting, when_busy: WhenBusy) -> Generator[float]:
        """All turns, one after the other."""
        life, locks = self._life, self._life.locks
        history = life.history.begin(life.scenario.clock.now)
        while waiting:
            free = locks.take(self, {self._worlds[name].account for name, _ in waiting})
            turn, later = _deal(waiting, free, self._worlds)
            if turn:
                waiting = later + (yield from self._turn(turn, history))
                locks.release_all(self)
            elif when_busy is WhenBusy.LEAVE:
                self.end.left += [name for name, _ in waiting]
                life.happened["busy accounts left"] += 1
                return
            else:
                life.happened["waits for an account"] += 1
                yield life.scenario.clock.now + _LOOK_AGAIN_SECONDS
                history = life.history.begin(life.scenario.clock.now)

    def _turn(self, turn: Mapping[AudienceName, Request], history: MemoryHistory) -> Generator[float, None, Waiting]:
        """What is free now; returns what is to be done after it in place of some of it."""
        life, later = self._life, Waiting()
        plans: list[AudiencePlan] = []
        asked = [
            AudienceRequest(name=name, fingerprint=self._worlds[name].plan.fingerprint, request=request)
            for name, request in turn.items()
        ]
        resolver = Resolver(asked, history, life.view)
        for it in asked:
            try:
                resolved = resolver.resolve(it)
            except SnapshotUnusable:
                life.happened["windows of no use"] += 1
                self.end.unusable.append(it.name)
                continue
            later += [(it.name, request) for request in resolved.later]
            if resolved.changes_form:
                history.record(FingerprintChanged(name=it.name, fingerprint=it.fingerprint))
            if resolved.scope is not None:
                quarantined = resolver.quarantined(it)
                plans.append(replace(self._worlds[it.name].plan, scope=resolved.scope, quarantined=quarantined))
        open_audiences = Counter(plan.account for plan in plans)
        # An account that has nothing to do in this turn is others' at once, as is one that is done.
        for account in {self._worlds[name].account for name in turn} - open_audiences.keys():
            life.locks.release(self, account)

        def finished(name: AudienceName) -> None:
            account = self._worlds[name].account
            open_audiences[account] -= 1
            if not open_audiences[account]:
                life.locks.release(self, account)

        process = Process(
            life,
            history,
            self._worlds,
            plans,
            finished=finished,
            holds=lambda account: life.locks.is_held(self, account),
            changes=self._changes,
            deaths=self._deaths,
        )
        try:
            yield from process.run()
        except Died:
            process.die()
            raise
        finally:
            self.end.done |= process.done
        return later


def job(
    life: Life, requests: Mapping[AudienceName, Request], *, when_busy: WhenBusy, changes: float, deaths: float
) -> Job:
    """One job that does what is asked for and what follows from it, unless it dies. It reads the clients file now."""
    run = _Run(life, changes=changes, deaths=deaths)

    def steps() -> Job:
        try:
            yield from run.go(list(requests.items()), when_busy)
        except Died:
            life.happened["deaths"] += 1
        finally:
            life.locks.release_all(run)
        return run.end

    return steps()


def together(life: Life, jobs: Sequence[Job]) -> list[JobEnd]:
    """Run jobs at once, a step of one after a step of another, until all are over."""
    rng, clock = life.scenario.rng, life.scenario.clock
    wakes = dict.fromkeys(range(len(jobs)), clock.now)
    ends: dict[int, JobEnd] = {}
    while wakes:
        clock.now = max(clock.now, min(wakes.values()))
        ready = [number for number, at in wakes.items() if at <= clock.now]
        number = ready[0] if len(ready) == 1 else rng.choice(ready)
        try:
            wakes[number] = next(jobs[number])
        except StopIteration as over:
            ends[number] = over.value
            del wakes[number]
    return [ends[number] for number in range(len(jobs))]


def run_job(life: Life, requests: Mapping[AudienceName, Request], *, changes: float, deaths: float) -> JobEnd:
    """Run one job by itself."""
    (end,) = together(life, [job(life, requests, when_busy=WhenBusy.WAIT, changes=changes, deaths=deaths)])
    return end


def _deal(
    waiting: Waiting, free: set[str], worlds: Mapping[AudienceName, World]
) -> tuple[dict[AudienceName, Request], Waiting]:
    """The turn of what is free, each audience once; and what has a later one."""
    turn: dict[AudienceName, Request] = {}
    later: Waiting = []
    for name, request in waiting:
        if worlds[name].account in free and name not in turn:
            turn[name] = request
        else:
            later.append((name, request))
    return turn, later
