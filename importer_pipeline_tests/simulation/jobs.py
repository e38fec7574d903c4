"""Jobs, as Dagster runs them: each takes the free accounts, and waits for the others or leaves them."""

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
"""Requests still to be done, in order. Several for one audience have a turn each."""


class WhenBusy(Enum):
    """The treatment of accounts that another job has."""

    WAIT = "come again"
    LEAVE = "leave them to a later job"


@dataclass(kw_only=True)
class JobEnd:
    """The result of a job, or the part of it before its death."""

    done: dict[AudienceName, AudienceDone] = field(default_factory=dict[AudienceName, AudienceDone])
    """The last one of an audience that had several turns."""
    unusable: list[AudienceName] = field(default_factory=list[AudienceName])
    """Audiences whose newest snapshot can't have the requested windows."""
    left: list[AudienceName] = field(default_factory=list[AudienceName])
    """Audiences of accounts that another job had."""


Job = Generator[float, None, JobEnd]
"""A job; yields the moment up to which nothing happens in it."""


class _Run:
    """One job: the clients file as it found it, and its locks."""

    def __init__(self, life: Life, *, changes: float, deaths: float) -> None:
        self._life = life
        self._worlds = {name: copy(world) for name, world in life.worlds.items()}
        self._changes = changes
        self._deaths = deaths
        self.end = JobEnd()

    def go(self, waiting: Waiting, when_busy: WhenBusy) -> Generator[float]:
        """Run all turns, one after the other."""
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
        """Import what is free now; return what is to be done after it in place of some of it."""
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
        # An account without work in this turn is unlocked at once, as is one that is done.
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
    """Make a job that does the requests and what follows from them, unless it dies. It reads the clients file now."""
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
    """Run jobs at once, alternating their steps, until all are over."""
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
    """Divide what is waiting: the turn of the free accounts, each audience once; and the rest."""
    turn: dict[AudienceName, Request] = {}
    later: Waiting = []
    for name, request in waiting:
        if worlds[name].account in free and name not in turn:
            turn[name] = request
        else:
            later.append((name, request))
    return turn, later
