"""One seed of days: hourly incremental syncs, and what happens between them, until the source comes to rest."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace

from importer_pipeline.listing.coverage import TimeRange
from importer_pipeline.listing.hours import HOUR_SECONDS, hours_of
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.planning.chain import chain_of
from importer_pipeline.planning.quarantine import RetryRule
from importer_pipeline.planning.requests import (
    ChangesRequest,
    EntrySelection,
    FirstSyncRequest,
    HoursRequest,
    Request,
    RetryRequest,
    WindowsRequest,
)
from importer_pipeline.planning.resuming import ResumeRule
from importer_pipeline.sandbox.faults import Fault, FaultPlan
from importer_pipeline_tests.simulation.changes import change
from importer_pipeline_tests.simulation.checks import Broken, check_rest, quarantined
from importer_pipeline_tests.simulation.draw import draw
from importer_pipeline_tests.simulation.edits import Edits
from importer_pipeline_tests.simulation.jobs import WhenBusy, job, run_job, together
from importer_pipeline_tests.simulation.life import Life
from importer_pipeline_tests.simulation.misfortunes import recover, strike
from importer_pipeline_tests.simulation.run import come_to_rest, switch_faults
from importer_pipeline_tests.simulation.scenario import Scenario, World
from importer_pipeline_tests.simulation.worlds import widen

_MAX_TICKS_AT_REST = 16
_TICK_AT = 7 * 60
_DAY_HOURS = 24
_MANY_DEATHS = 0.05
_WINDOWS = WindowsRequest(wanted=None, rule=ResumeRule(within_seconds=86_400.0, restart=False))
_DUE = RetryRequest(wanted=EntrySelection(refs=None, rule=RetryRule()), windows=_WINDOWS)
_ALL = RetryRequest(wanted=EntrySelection(refs=None, rule=None), windows=_WINDOWS)


def run_days(seed: int, *, forced: Collection[str] = ()) -> Counter[str]:
    """Run a seed; raise `Broken` where a promise does not hold.

    Args:
        seed: the seed.
        forced: dimensions of the world that are on, whatever is drawn: see `worlds`.

    Returns:
        counts of what happened.
    """
    scenario = draw(seed)
    widen(scenario, seed, forced=forced)
    rng = scenario.rng
    life = Life(scenario=scenario, worlds={world.plan.name: world for world in scenario.worlds})
    switch_faults(scenario, faults=True)
    scenario.is_calm = False
    scenario.limits = replace(scenario.limits, isolation_posts=rng.choice((6, 64)))
    for _ in range(rng.choice((3, 8, 20, 40))):
        _an_hour_passes(life, changes=rng.choice((0, 0, 1, 3, 10)))
        if rng.random() < 0.85:
            _tick(life, changes=scenario.changes / 10, deaths=scenario.deaths)
        _something_else(life)
        if isinstance(edits := scenario.dimensions.get("edits"), Edits) and edits.rng.random() < 0.15:
            _send_otherwise(life, edits)
        if (many := scenario.dimensions.get("many retries")) is not None and many.rng.random() < 0.05:
            _retry_by_the_hundred(life, many.rng.randint(20, 120))
        for dimension in scenario.dimensions.values():
            dimension.pause()
    come_to_rest(scenario)
    switch_faults(scenario, faults=False)
    scenario.limits = replace(scenario.limits, isolation_posts=64)
    if rng.random() < 0.5:
        for world in scenario.worlds:
            world.target.refusals = ()
            world.point(sink=replace(world.sink, refusals=()))
    _come_to_rest(life)
    return life.happened


def _an_hour_passes(life: Life, *, changes: int) -> None:
    scenario = life.scenario
    now = scenario.clock.now
    next_tick = now - now % HOUR_SECONDS + HOUR_SECONDS + _TICK_AT
    for moment in sorted(scenario.rng.uniform(now, next_tick) for _ in range(changes)):
        scenario.clock.now = moment
        change(scenario)
        life.happened["changes"] += 1
    scenario.clock.now = next_tick + scenario.rng.random() * 60


def _tick(life: Life, *, changes: float, deaths: float) -> None:
    """Run what the two hourly schedules start: one after the other, or at once."""
    life.happened["ticks"] += 1
    rng = life.scenario.rng
    newcomers = _WINDOWS if rng.random() < 0.2 else None
    requests: list[tuple[Mapping[AudienceName, Request], WhenBusy]] = [
        (dict.fromkeys(life.worlds, ChangesRequest(retry=_DUE, newcomers=newcomers)), WhenBusy.LEAVE),
        (dict.fromkeys(life.worlds, FirstSyncRequest(windows=_WINDOWS)), WhenBusy.WAIT),
    ]
    jobs = [job(life, it, when_busy=when_busy, changes=changes, deaths=deaths) for it, when_busy in requests]
    if life.scenario.at_once > 1:
        together(life, jobs)
    else:
        for it in jobs:
            together(life, [it])


def _something_else(life: Life) -> None:
    """Do what people do from time to time, or strike clients with a misfortune."""
    scenario, rng = life.scenario, life.scenario.rng
    name = rng.choice(list(life.worlds))
    kind = rng.random()
    if kind < 0.06:
        life.happened["hours by hand"] += 1
        _run_one(life, name, HoursRequest(hours=_some_hours(life)))
    elif kind < 0.09:
        rule = ResumeRule(within_seconds=86_400.0, restart=rng.random() < 0.5)
        _run_one(life, name, WindowsRequest(wanted=None, rule=rule))
    elif kind < 0.12:
        latest = life.history.latest([name]).get(name)
        keys = latest.snapshot.keys if latest is not None else ["0"]
        wanted = frozenset(rng.sample(keys, rng.randint(1, len(keys))))
        _run_one(life, name, WindowsRequest(wanted=wanted, rule=_WINDOWS.rule))
    elif kind < 0.15:
        _run_one(life, name, _ALL)
    elif kind < 0.17:
        life.happened["edits"] += 1
        _edit(life.worlds[name])
        if life.happened["edits"] % 2 == 0:
            _send_and_edit_back(life, name)
    elif kind < 0.18:
        life.happened["wiped"] += 1
        life.history.forget_hours(name)
    elif kind < 0.21 and scenario.misfortune:
        strike(scenario)
    elif kind < 0.35:
        recover(scenario)
        switch_faults(scenario, faults=True)


def _run_one(life: Life, name: AudienceName, request: Request) -> None:
    run_job(life, {name: request}, changes=life.scenario.changes / 10, deaths=life.scenario.deaths)


def _send_and_edit_back(life: Life, name: AudienceName) -> None:
    """Send contacts in the other form, by a run that may die in the middle; then restore the clients file."""
    now = int(life.scenario.clock.now)
    (*_, last) = hours_of(TimeRange(now, now))
    request = HoursRequest(hours=TimeRange(last.first - _DAY_HOURS * HOUR_SECONDS, last.last - HOUR_SECONDS))
    run_job(life, {name: request}, changes=0.0, deaths=_MANY_DEATHS)
    _edit(life.worlds[name])


def _retry_by_the_hundred(life: Life, times: int) -> None:
    """Redrive the quarantine repeatedly while the account has an outage."""
    account = life.scenario.sandbox.accounts[life.scenario.worlds[0].account]
    before = account.fault_plan
    account.fault_plan = FaultPlan(rates={Fault.ERROR_500: 0.5})
    for _ in range(times):
        life.happened["retries in a row"] += 1
        run_job(life, dict.fromkeys(life.worlds, _ALL), changes=0.0, deaths=0.01)
    account.fault_plan = before


def _send_otherwise(life: Life, edits: Edits) -> None:
    """Edit the clients file, send something by a run that dies soon, and restore the file."""
    rng = edits.rng
    back = edits.edit()
    life.happened["edits and back"] += 1
    request = rng.choice(
        (
            WindowsRequest(wanted=None, rule=ResumeRule(within_seconds=86_400.0, restart=True)),
            _WINDOWS,
            FirstSyncRequest(windows=_WINDOWS),
            ChangesRequest(retry=_DUE, newcomers=_WINDOWS),
            HoursRequest(hours=_some_hours(life)),
            _ALL,
        )
    )
    run_job(life, dict.fromkeys(life.worlds, request), changes=0.0, deaths=rng.choice((0.01, _MANY_DEATHS, 0.2)))
    back()


def _edit(world: World) -> None:
    """Map the contacts of an audience differently from now on, or as before again."""
    world.point(is_swapped=not world.is_swapped)


def _some_hours(life: Life) -> TimeRange:
    """Draw one or several consecutive hours of the last days, perhaps with the present one."""
    now, rng = int(life.scenario.clock.now), life.scenario.rng
    first = now - rng.randint(0, 30) * HOUR_SECONDS
    hours = list(hours_of(TimeRange(first, min(now, first + rng.randint(0, 5) * HOUR_SECONDS))))
    return TimeRange(hours[0].first, hours[-1].last)


def _come_to_rest(life: Life) -> None:
    """Tick without faults until the chain has passed all changes and the quarantine has been redriven."""
    scenario = life.scenario
    still_since = scenario.clock.now
    waiting = set(life.worlds)
    for _ in range(_MAX_TICKS_AT_REST):
        _an_hour_passes(life, changes=0)
        _tick(life, changes=0.0, deaths=0.0)
        run_job(life, dict.fromkeys(life.worlds, _ALL), changes=0.0, deaths=0.0)
        for name in list(waiting):
            if _is_lost(scenario, life.worlds[name]):
                waiting.discard(name)
            elif _chain_end(life, name) > still_since + 3 * HOUR_SECONDS:
                waiting.discard(name)
                _check_rest(life, name)
        if not waiting:
            return
    raise Broken(f"no sync succeeds at rest: {sorted(map(str, waiting))}")


def _chain_end(life: Life, name: AudienceName) -> float:
    """Return the end of the chain by our clock; 0 without a chain."""
    world = life.worlds[name]
    evidence = life.history.evidence([name], life.view)[name]
    chain = chain_of(evidence, fingerprint=world.plan.fingerprint, view=life.view)
    account = life.scenario.sandbox.accounts[world.account]
    return 0.0 if chain is None else chain.end - account.clock_offset_seconds


def _check_rest(life: Life, name: AudienceName) -> None:
    entries = life.history.open_entries(name)
    world = life.worlds[name]
    can_all = not any(life.scenario.is_unreadable(world, member, ever=False) for member in world.members)
    if can_all and any(entry.failures for entry in entries):
        raise Broken(f"at rest of {name}: something that no longer fails is still in the quarantine")
    check_rest(life.scenario, life.worlds[name], quarantined(entries))


def _is_lost(scenario: Scenario, world: World) -> bool:
    """Return whether nothing of the audience can be read, whoever asks."""
    return not scenario.sandbox.accounts[world.account].secrets
