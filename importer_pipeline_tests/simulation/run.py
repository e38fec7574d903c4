"""One seed from the first request to rest: syncs, single windows by hand and plans, each of which may die at any moment."""

from collections import Counter
from dataclasses import dataclass, field, replace

from importer_pipeline.audience_plan import AudiencePlan
from importer_pipeline.audience_sync import Fetch
from importer_pipeline.connections import ConnectionBook
from importer_pipeline.errors import ImporterError, SnapshotUnusable
from importer_pipeline.outcomes import AudienceDone, Outcome, SnapshotKnown, WindowIn
from importer_pipeline.pages import Page, open_page
from importer_pipeline.posting import Post
from importer_pipeline.resuming import ResumeRule, take_up
from importer_pipeline.sandbox.faults import Unkindness
from importer_pipeline.snapshots import AudienceName
from importer_pipeline.sync import Sync
from importer_pipeline.target import Receipt
from importer_pipeline_tests.memory_history import MemoryHistory
from importer_pipeline_tests.simulation.checks import (
    Broken,
    check_connections,
    check_cost,
    check_done,
    check_moment,
    check_not_read_again,
    check_progress,
    check_rest,
    check_window,
)
from importer_pipeline_tests.simulation.lies import lie
from importer_pipeline_tests.simulation.scenario import Misfortune, Scenario, World, befall, change, draw, recover

_MOST_STEPS = 60_000
_MOST_SYNCS_AT_REST = 16


class _Died(Exception):
    """The process is gone, wherever it was."""


@dataclass(eq=False, slots=True)
class _Flight:
    """A request under way: asked, then answered by the sandbox at some moment, then told to the engine."""

    request: Fetch | Post
    result: Page | Receipt | ImporterError | None = None


@dataclass(eq=False, kw_only=True)
class Life:
    """What outlives the processes of a scenario."""

    scenario: Scenario
    worlds: dict[AudienceName, World]
    history: MemoryHistory = field(default_factory=MemoryHistory)
    taken_at: dict[str, float] = field(default_factory=dict[str, float])
    """When the run began that took a snapshot, by its id."""
    happened: Counter[str] = field(default_factory=Counter[str])


def run_seed(seed: int) -> Counter[str]:
    """Run a seed; raises `Broken` where a promise does not hold. Returns what happened, counted."""
    scenario = draw(seed)
    life = Life(scenario=scenario, worlds={world.plan.name: world for world in scenario.worlds})
    scenario_is_unkind(scenario, unkind=True)
    for _ in range(scenario.runs):
        _some_run(life)
    recover(scenario)
    if not scenario.is_calm:
        scenario_is_unkind(scenario, unkind=scenario.rng.random() < 0.3)
    scenario.limits = replace(scenario.limits, isolation_posts=64)
    scenario.clock.now += 1000
    _come_to_rest(life)
    return life.happened


def scenario_is_unkind(scenario: Scenario, *, unkind: bool) -> None:
    """Switch the faults of a scenario on or off."""
    if not unkind:
        scenario.lies = 0.0
        recover(scenario)
    for account in scenario.sandbox.accounts.values():
        account.unkindness = scenario.unkind if unkind else Unkindness(page_limit=scenario.page_limit)
    for target in scenario.sandbox.targets.values():
        target.unkindness = scenario.unkind_target if unkind else Unkindness()


def _some_run(life: Life) -> None:
    """A full sync as a rule; or a plan, or some windows by hand."""
    scenario, rng = life.scenario, life.scenario.rng
    rule = ResumeRule(within_seconds=rng.choice((0.0, 86_400.0, 86_400.0)), restart=rng.random() < 0.1)
    plans = [world.plan for world in scenario.worlds]
    kind = rng.random()
    if kind < scenario.by_hand:
        plan = rng.choice(plans)
        latest = life.history.latest([plan.name]).get(plan.name)
        keys = latest.snapshot.keys if latest is not None else ["0"]
        plans = [replace(plan, wanted=frozenset(rng.sample(keys, rng.randint(1, len(keys)))))]
    elif kind < scenario.by_hand * 1.3:
        plans = [replace(plan, wanted=frozenset()) for plan in plans]
    _run(life, plans, rule, changes=scenario.changes, deaths=scenario.deaths)


def _come_to_rest(life: Life) -> None:
    """Full syncs of a source that stands still, until one that began now has succeeded. After a while nothing fails."""
    scenario, began = life.scenario, life.scenario.clock.now
    rule = ResumeRule(within_seconds=86_400.0, restart=False)
    waiting = {world.plan.name for world in scenario.worlds}
    errors: list[str] = []
    for attempt in range(_MOST_SYNCS_AT_REST):
        is_late = attempt >= _MOST_SYNCS_AT_REST // 2
        if is_late:
            scenario_is_unkind(scenario, unkind=False)
        plans = [world.plan for world in scenario.worlds if world.plan.name in waiting]
        done = _run(life, plans, rule, changes=0.0, deaths=0.0 if is_late else scenario.deaths)
        for name, outcome in done.items():
            if _is_lost(scenario, outcome):
                waiting.discard(name)
            elif outcome.complete and outcome.snapshot is not None and life.taken_at[outcome.snapshot.id] >= began:
                check_rest(scenario, life.worlds[name], life.history.refused[outcome.snapshot.id])
                waiting.discard(name)
        if not waiting:
            return
        errors = [str(outcome.error) for outcome in done.values()]
    raise Broken(f"no sync succeeds at rest: {errors}")


def _is_lost(scenario: Scenario, done: AudienceDone) -> bool:
    """Whether nothing can be had of the audience, whoever asks."""
    return scenario.misfortune is Misfortune.REVOKED and done.name.client == scenario.worlds[-1].plan.name.client


def _run(
    life: Life, plans: list[AudiencePlan], rule: ResumeRule, *, changes: float, deaths: float
) -> dict[AudienceName, AudienceDone]:
    """One process: what it brought to an end before it ended or died."""
    scenario = life.scenario
    latest = life.history.latest([plan.name for plan in plans])
    try:
        taken = [
            take_up(plan, latest.get(plan.name), life.history, rule=rule, now=scenario.clock.now).plan for plan in plans
        ]
    except SnapshotUnusable:
        if any(latest.get(plan.name) is not None for plan in plans):
            raise Broken("windows of the newest snapshot can't be imported") from None
        return {}
    process = _Process(life, taken, changes=changes, deaths=deaths)
    try:
        process.run()
    except _Died:
        life.happened["deaths"] += 1
        process.die()
    return process.done


class _Process:
    """An engine, and the requests that it has under way."""

    def __init__(self, life: Life, plans: list[AudiencePlan], *, changes: float, deaths: float) -> None:
        scenario = life.scenario
        self._life = life
        self._scenario = scenario
        self._changes = changes
        self._deaths = deaths
        self._wanted = {plan.name: plan.wanted for plan in plans}
        self._started_at = scenario.clock.now
        self._flights: list[_Flight] = []
        self._sync = Sync(
            plans,
            paging=scenario.paging,
            limits=scenario.limits,
            book=ConnectionBook(),
            rng=scenario.rng,
            epoch_offset_seconds=0.0,
        )
        self.done: dict[AudienceName, AudienceDone] = {}

    def run(self) -> None:
        """From the first request to the last outcome."""
        scenario, rng, clock = self._scenario, self._scenario.rng, self._scenario.clock
        for _ in range(_MOST_STEPS):
            self._maybe_die()
            while (request := self._sync.take(clock.now)) is not None:
                check_not_read_again(request, self._life.history)
                self._flights.append(_Flight(request))
                check_connections(scenario, [flight.request for flight in self._flights])
            self._record()
            if self._sync.finished:
                check_progress(self._sync, len(self.done))
                return
            if self._changes and rng.random() < self._changes:
                change(scenario)
                self._life.happened["changes"] += 1
            if scenario.misfortune and self._changes and rng.random() < 0.06:
                befall(scenario)
            if not self._flights:
                if self._sync.next_timer is None:
                    raise Broken("the engine waits for nothing")
                clock.now = max(clock.now, self._sync.next_timer)
            else:
                clock.now += rng.random() * 0.4
                self._advance()
        raise Broken("the engine does not come to an end")

    def die(self) -> None:
        """What was on the wire may still arrive."""
        for flight in self._flights:
            if flight.result is None and self._scenario.rng.random() < 0.5:
                self._carry_out(flight.request)

    def _maybe_die(self) -> None:
        if self._deaths and self._scenario.rng.random() < self._deaths:
            raise _Died

    def _advance(self) -> None:
        """The next thing that happens to one of the requests under way."""
        flight = self._scenario.rng.choice(self._flights)
        if flight.result is None:
            flight.result = self._carry_out(flight.request)
            self._life.happened["fetches" if isinstance(flight.request, Fetch) else "posts"] += 1
            return
        self._flights.remove(flight)
        self._tell(flight.request, flight.result)

    def _tell(self, request: Fetch | Post, result: Page | Receipt | ImporterError) -> None:
        sync, now = self._sync, self._scenario.clock.now
        sync.off_the_wire(request, now)
        if isinstance(request, Fetch):
            if isinstance(result, Page):
                sync.fetched(request, result, now)
            elif isinstance(result, ImporterError):
                self._life.happened[type(result).__name__] += 1
                sync.fetch_failed(request, result, now)
        elif isinstance(result, Receipt):
            sync.posted(request, result, now)
        elif isinstance(result, ImporterError):
            self._life.happened[f"target {type(result).__name__}"] += 1
            sync.post_failed(request, result, now)

    def _carry_out(self, request: Fetch | Post) -> Page | Receipt | ImporterError:
        scenario = self._scenario
        lines = self._life.worlds[request.audience.plan.name].lines
        try:
            if isinstance(request, Post):
                return lines.target.post(request.batch.records)
            answer = lines.account.members(
                lines.list_id, request.ask, archived=request.archived, fields=lines.mapping.fields
            )
            if scenario.rng.random() < scenario.lies:
                answer = lie(answer, scenario.rng)
            return open_page(answer, request.ask, lines.mapping)
        except ImporterError as error:
            return error

    def _record(self) -> None:
        """Write down what the engine tells, one after the other, and check that each claim is true at that moment."""
        while self._sync.outcomes:
            self._maybe_die()
            outcome = self._sync.outcomes.popleft()
            self._life.history.record(outcome)
            self._check(outcome)

    def _check(self, outcome: Outcome) -> None:
        life, world = self._life, self._life.worlds[outcome.name]
        if isinstance(outcome, SnapshotKnown):
            taken_at = life.taken_at.setdefault(outcome.snapshot.id, self._started_at)
            if taken_at == self._started_at:
                check_moment(self._scenario, world, outcome.snapshot, taken_at=taken_at)
        elif isinstance(outcome, WindowIn):
            refused, taken_at = life.history.refused[outcome.snapshot_id], life.taken_at[outcome.snapshot_id]
            check_window(self._scenario, world, refused, outcome, taken_at=taken_at)
        elif isinstance(outcome, AudienceDone):
            self.done[outcome.name] = outcome
            snapshot = outcome.snapshot
            windows = {} if snapshot is None else life.history.windows(outcome.name, snapshot)
            check_done(outcome, windows, wanted=self._wanted[outcome.name])
            if self._scenario.is_calm and outcome.complete and len(self._wanted) == 1:
                check_cost(outcome, too_slow=life.happened["TooSlow"])
