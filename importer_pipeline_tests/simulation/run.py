"""One seed of full syncs, single windows by hand and plans, until the source comes to rest; any of them may die."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from importer_pipeline.engine.outcomes import AudienceDone
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.planning.requests import EntrySelection, Request, RetryRequest, WindowsRequest
from importer_pipeline.planning.resuming import ResumeRule
from importer_pipeline.sandbox.faults import FaultPlan
from importer_pipeline_tests.simulation.checks import Broken, check_rest, quarantined
from importer_pipeline_tests.simulation.draw import draw
from importer_pipeline_tests.simulation.jobs import Job, JobEnd, WhenBusy, job, run_job, together
from importer_pipeline_tests.simulation.life import Life
from importer_pipeline_tests.simulation.misfortunes import recover
from importer_pipeline_tests.simulation.scenario import Misfortune, Scenario
from importer_pipeline_tests.simulation.worlds import widen

_MAX_SYNCS_AT_REST = 16
_RESUMES = ResumeRule(within_seconds=86_400.0, restart=False)


def run_seed(seed: int, *, forced: Collection[str] = ()) -> Counter[str]:
    """Run a seed; raise `Broken` where a promise does not hold.

    Args:
        seed: the seed.
        forced: dimensions of the world that are on, whatever is drawn: see `worlds`.

    Returns:
        counts of what happened.
    """
    scenario = draw(seed)
    widen(scenario, seed, forced=forced)
    life = Life(scenario=scenario, worlds={world.plan.name: world for world in scenario.worlds})
    switch_faults(scenario, faults=True)
    for _ in range(scenario.runs):
        requests = [_some_request(life) for _ in range(scenario.at_once)]
        _check_usable(life, together(life, [_start(life, it) for it in requests]))
        for dimension in scenario.dimensions.values():
            dimension.pause()
    come_to_rest(scenario)
    is_faulty = not scenario.is_calm and scenario.rng.random() < 0.3
    switch_faults(scenario, faults=is_faulty)
    scenario.limits = replace(scenario.limits, isolation_posts=64)
    scenario.clock.now += 1000
    _come_to_rest(life)
    return life.happened


def come_to_rest(scenario: Scenario) -> None:
    """End all that passes, and stop edits of the clients file."""
    recover(scenario)
    scenario.is_awake = False
    for dimension in scenario.dimensions.values():
        dimension.heal()


def switch_faults(scenario: Scenario, *, faults: bool) -> None:
    """Switch the faults of a scenario on or off."""
    if not faults:
        scenario.lies = 0.0
        recover(scenario)
    for account in scenario.sandbox.accounts.values():
        account.fault_plan = scenario.faults if faults else FaultPlan(page_limit=scenario.page_limit)
    for target in scenario.sandbox.targets.values():
        target.fault_plan = scenario.target_faults if faults else FaultPlan()
    for dimension in scenario.dimensions.values():
        dimension.at_rest()


def _some_request(life: Life) -> dict[AudienceName, Request]:
    """Draw a request: usually a full sync; or a plan, or some windows by hand."""
    scenario, rng = life.scenario, life.scenario.rng
    rule = ResumeRule(within_seconds=rng.choice((0.0, 86_400.0, 86_400.0)), restart=rng.random() < 0.1)
    names, wanted = list(life.worlds), None
    kind = rng.random()
    if kind < scenario.by_hand:
        names = [rng.choice(names)]
        latest = life.history.latest(names).get(names[0])
        keys = latest.snapshot.keys if latest is not None else ["0"]
        wanted = frozenset(rng.sample(keys, rng.randint(1, len(keys))))
    elif kind < scenario.by_hand * 1.3:
        wanted = frozenset[str]()
    return dict.fromkeys(names, WindowsRequest(wanted=wanted, rule=rule))


def _start(life: Life, requests: Mapping[AudienceName, Request]) -> Job:
    scenario = life.scenario
    return job(life, requests, when_busy=WhenBusy.WAIT, changes=scenario.changes, deaths=scenario.deaths)


def _check_usable(life: Life, ends: Sequence[JobEnd]) -> None:
    """Check that windows by hand could be imported, unless a new snapshot or an edit came in between."""
    names = [name for end in ends for name in end.unusable]
    if names and not life.scenario.dimensions and life.history.latest(names):
        raise Broken("windows of the newest snapshot can't be imported")


def _come_to_rest(life: Life) -> None:
    """Run full syncs without changes until one that began now has succeeded; after a while without faults."""
    scenario, began = life.scenario, life.scenario.clock.now
    waiting = {world.plan.name for world in scenario.worlds}
    errors: list[str] = []
    for attempt in range(_MAX_SYNCS_AT_REST):
        is_late = attempt >= _MAX_SYNCS_AT_REST // 2
        if is_late:
            switch_faults(scenario, faults=False)
        request = WindowsRequest(wanted=None, rule=_RESUMES)
        requests = {name: request for name in life.worlds if name in waiting}
        done = run_job(life, requests, changes=0.0, deaths=0.0 if is_late else scenario.deaths).done
        for name, outcome in done.items():
            if _is_lost(scenario, outcome):
                waiting.discard(name)
            elif outcome.complete and outcome.snapshot is not None and life.taken_at[outcome.snapshot.id] >= began:
                check_rest(scenario, life.worlds[name], _still_refused(life, name))
                waiting.discard(name)
        if not waiting:
            return
        errors = [str(outcome.error) for outcome in done.values()]
    raise Broken(f"no sync succeeds at rest: {errors}")


def _still_refused(life: Life, name: AudienceName) -> set[str]:
    """Return the ids still quarantined after all have been redriven: a fault may have quarantined good contacts."""
    switch_faults(life.scenario, faults=False)
    again = RetryRequest(
        wanted=EntrySelection(refs=None, rule=None), windows=WindowsRequest(wanted=None, rule=_RESUMES)
    )
    run_job(life, {name: again}, changes=0.0, deaths=0.0)
    return quarantined(life.history.open_entries(name))


def _is_lost(scenario: Scenario, done: AudienceDone) -> bool:
    """Return whether nothing of the audience can be read, whoever asks."""
    return scenario.misfortune is Misfortune.REVOKED and done.name.client == scenario.worlds[-1].plan.name.client
