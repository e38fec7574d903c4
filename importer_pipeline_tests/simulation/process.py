"""One process of a scenario: an engine, its requests in flight, and its death at any moment."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from importer_pipeline.engine.audience_plan import AudiencePlan, SnapshotScope
from importer_pipeline.engine.audience_sync import Fetch
from importer_pipeline.engine.concurrency import LimiterRegistry
from importer_pipeline.engine.outcomes import AudienceDone, HourImported, Outcome, SnapshotKnown, WindowImported
from importer_pipeline.engine.pages import Page
from importer_pipeline.engine.posts import Post, Probe
from importer_pipeline.engine.sync import Sync
from importer_pipeline.errors import ImporterError
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.records.receipt import Receipt
from importer_pipeline_tests.simulation.changes import change
from importer_pipeline_tests.simulation.checks import (
    Broken,
    check_connections,
    check_cost,
    check_done,
    check_hour,
    check_moment,
    check_not_read_again,
    check_progress,
    check_window,
)
from importer_pipeline_tests.simulation.lies import lie
from importer_pipeline_tests.simulation.life import Life
from importer_pipeline_tests.simulation.misfortunes import strike
from importer_pipeline_tests.simulation.scenario import World
from importer_pipeline_tests.support.memory_history import MemoryHistory

_MAX_STEPS = 60_000
_KINDS = {Fetch: "fetches", Post: "posts", Probe: "probes"}


class Died(Exception):
    """The process has died, wherever it was."""


@dataclass(eq=False, slots=True)
class _Flight:
    """A request in flight: sent, then answered by the sandbox at some moment, then reported to the engine."""

    request: Fetch | Post | Probe
    result: Page | Receipt | ImporterError | None = None


class Process:
    """An engine, and its requests in flight.

    Args:
        life: the state that outlives it.
        history: the history, as this process sees it.
        worlds: its audiences as the clients file had them when it began.
        plans: the plans of the audiences to import.
        finished: called with each audience that is done, once that is recorded.
        holds: returns True while it may work on an account.
        changes: probability of a change between two steps.
        deaths: probability that it dies between two steps, or between two reports.
    """

    def __init__(
        self,
        life: Life,
        history: MemoryHistory,
        worlds: Mapping[AudienceName, World],
        plans: list[AudiencePlan],
        *,
        finished: Callable[[AudienceName], None],
        holds: Callable[[str], bool],
        changes: float,
        deaths: float,
    ) -> None:
        scenario = life.scenario
        self._life = life
        self._history = history
        self._worlds = worlds
        self._finished = finished
        self._holds = holds
        self._scenario = scenario
        self._changes = changes
        self._deaths = deaths
        self._plans = {plan.name: plan for plan in plans}
        self._started_at = scenario.clock.now
        self._flights: list[_Flight] = []
        self._sync = Sync(
            plans,
            paging=scenario.paging,
            limits=scenario.limits,
            limiters=LimiterRegistry(),
            rng=scenario.rng,
            epoch_offset_seconds=0.0,
        )
        self.done: dict[AudienceName, AudienceDone] = {}

    def run(self) -> Iterator[float]:
        """Run from the first request to the last outcome.

        Yields:
            after each step the moment, by the scenario's clock, up to which nothing happens in it.
        """
        rng, clock = self._scenario.rng, self._scenario.clock
        for _ in range(_MAX_STEPS):
            self._maybe_die()
            while (request := self._sync.take(clock.now)) is not None:
                check_not_read_again(request, self._history)
                self._send(request)
            self._record()
            if self._sync.finished:
                check_progress(self._sync, len(self.done))
                return
            self._something_happens()
            if not self._flights:
                if self._sync.next_timer is None:
                    raise Broken("the engine is idle, but not finished")
                yield self._sync.next_timer
            else:
                clock.now += rng.random() * 0.4
                self._advance()
                yield clock.now
        raise Broken("the engine does not finish")

    def die(self) -> None:
        """Let some of the requests in flight still arrive."""
        for flight in self._flights:
            self._life.in_flight[flight.request.audience.plan.account] -= isinstance(flight.request, Fetch)
            if flight.result is None and self._scenario.rng.random() < 0.5:
                self._carry_out(flight.request)

    def _maybe_die(self) -> None:
        if self._deaths and self._scenario.rng.random() < self._deaths:
            raise Died

    def _something_happens(self) -> None:
        scenario, rng = self._scenario, self._scenario.rng
        if self._changes and rng.random() < self._changes:
            change(scenario)
            self._life.happened["changes"] += 1
        if scenario.misfortune and self._changes and rng.random() < 0.06:
            strike(scenario)
        if scenario.is_awake:
            for dimension in scenario.dimensions.values():
                dimension.step()

    def _send(self, request: Fetch | Post | Probe) -> None:
        account = request.audience.plan.account
        self._flights.append(_Flight(request))
        self._life.in_flight[account] += isinstance(request, Fetch)
        check_connections(self._scenario, [flight.request for flight in self._flights], self._life.in_flight)

    def _advance(self) -> None:
        """Advance one of the requests in flight."""
        flight = self._scenario.rng.choice(self._flights)
        if flight.result is None:
            flight.result = self._carry_out(flight.request)
            self._life.happened[_KINDS[type(flight.request)]] += 1
            return
        self._flights.remove(flight)
        self._life.in_flight[flight.request.audience.plan.account] -= isinstance(flight.request, Fetch)
        self._report(flight.request, flight.result)

    def _report(self, request: Fetch | Post | Probe, result: Page | Receipt | ImporterError) -> None:
        sync, now = self._sync, self._scenario.clock.now
        sync.connection_freed(request, now)
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

    def _carry_out(self, request: Fetch | Post | Probe) -> Page | Receipt | ImporterError:
        scenario, plan = self._scenario, request.audience.plan
        # A probe holds no contact and does not go to Mailchimp: it may still be under way when its audience runs out of time.
        if not isinstance(request, Probe) and not self._holds(plan.account):
            raise Broken(f"{plan.name}: a {type(request).__name__} arrives while another sync may have the account")
        endpoints = self._worlds[plan.name].endpoints
        try:
            if not isinstance(request, Fetch):
                return endpoints.post(request)
            answer = endpoints.send(request)
            if request.contact_id is None and scenario.rng.random() < scenario.lies:
                answer = lie(answer, scenario.rng)
            return endpoints.open(answer, request)
        except ImporterError as error:
            return error

    def _record(self) -> None:
        """Record the engine's outcomes one after the other, and check that each is true at that moment."""
        while self._sync.outcomes:
            self._maybe_die()
            outcome = self._sync.outcomes.popleft()
            self._history.record(outcome)
            self._check(outcome)
            if isinstance(outcome, AudienceDone):
                self._finished(outcome.name)

    def _check(self, outcome: Outcome) -> None:
        life, world = self._life, self._worlds[outcome.name]
        if isinstance(outcome, SnapshotKnown):
            taken_at = life.taken_at.setdefault(outcome.snapshot.id, self._started_at)
            if taken_at == self._started_at:
                check_moment(self._scenario, world, outcome.snapshot, taken_at=taken_at)
        elif isinstance(outcome, WindowImported):
            refused, taken_at = self._history.refused[outcome.snapshot_id], life.taken_at[outcome.snapshot_id]
            check_window(self._scenario, world, refused, outcome, taken_at=taken_at)
            scope = self._plans[outcome.name].scope
            if isinstance(scope, SnapshotScope) and scope.wanted:
                life.by_hand.add(outcome.snapshot_id)
        elif isinstance(outcome, HourImported):
            entries = self._history.open_entries(outcome.name)
            check_hour(self._scenario, world, entries, outcome, began=self._started_at)
        elif isinstance(outcome, AudienceDone):
            self._check_done(outcome)

    def _check_done(self, outcome: AudienceDone) -> None:
        self.done[outcome.name] = outcome
        scope = self._plans[outcome.name].scope
        if not isinstance(scope, SnapshotScope):
            if not outcome.complete and outcome.error is None:
                raise Broken(f"{outcome.name}: {outcome.part} not complete, and no error")
            return
        snapshot = outcome.snapshot
        windows = {} if snapshot is None else self._history.windows(outcome.name, snapshot)
        check_done(outcome, windows, wanted=scope.wanted)
        # What windows by hand have left over is read by time, and that costs a request or two more.
        is_alone = snapshot is not None and snapshot.id not in self._life.by_hand and len(self._plans) == 1
        if self._scenario.is_calm and outcome.complete and scope.wanted is None and is_alone:
            check_cost(outcome, too_slow=self._life.happened["TooSlow"])
