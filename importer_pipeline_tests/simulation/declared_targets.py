"""Targets with other protocols than the seed's, declared as in the clients file."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

from pydantic import SecretStr

from importer_pipeline.clients.declared_targets import DeclaredTargets
from importer_pipeline.clients.file_problems import Problem
from importer_pipeline.clients.target_settings import TargetSettings
from importer_pipeline.engine.audience_plan import TargetRules
from importer_pipeline.records.contacts import DEFAULT_RECORD
from importer_pipeline.records.shapes import Shape
from importer_pipeline.sandbox.adapter import SandboxAdapter
from importer_pipeline.sandbox.protocols import PROTOCOLS, SEED, Protocol, TargetRecord
from importer_pipeline.sandbox.target import RateLimit
from importer_pipeline.target.client import TargetLimits
from importer_pipeline.target.opening import open_target
from importer_pipeline_tests.simulation.scenario import Dimension, Scenario, Sink


class DeclaredTargetWorld(Dimension):
    """Each target speaks a protocol of its own, and asks for some records again where it can say so."""

    def __init__(self, scenario: Scenario, rng: Random) -> None:
        super().__init__(scenario, rng)
        self._deferred = rng.choice((0.0, 0.02, 0.2))
        others = [it for it in PROTOCOLS.values() if it is not SEED]
        spoken: dict[str, Protocol] = {}
        for world in scenario.worlds:
            for sink in (world.sink, *world.other_sinks):
                spoken.setdefault(sink.target.name, rng.choice(others))
            world.other_sinks = tuple(self._speaking(it, spoken[it.target.name]) for it in world.other_sinks)
            world.point(sink=self._speaking(world.sink, spoken[world.sink.target.name]))

    def at_rest(self) -> None:
        """Ask for nothing again, once faults are off: a record that is asked for too often is refused."""
        if not self.scenario.is_awake:
            self._deferred = 0.0

    def _speaking(self, sink: Sink, protocol: Protocol) -> Sink:
        settings = settings_of(protocol, DEFAULT_RECORD)
        sink.target.protocol, sink.target.defers = protocol, self._defers
        if protocol.name == "limited" and sink.target.rate_limit is None:
            sink.target.rate_limit = RateLimit(posts=6, seconds=2.0)
        line = open_target(
            "http://sandbox/target",
            settings.declaration(),
            {"api_key": SecretStr(sink.key)},
            limits=TargetLimits(),
            adapter=SandboxAdapter(self.scenario.sandbox, sleep=lambda _: None),
        )
        rules = TargetRules(
            batch_records=settings.batch_records,
            posts_at_once=settings.limits.posts_at_once,
            posts_per_second=settings.limits.posts_per_second,
        )
        return replace(sink, line=line, rules=rules, shape_of=partial(shape_of, protocol))

    def _defers(self, _record: TargetRecord) -> bool:
        return self.rng.random() < self._deferred


def settings_of(protocol: Protocol, spec: Mapping[str, str]) -> TargetSettings:
    """Return a target that speaks a protocol, read as from the clients file."""
    problems = list[Problem]()
    written = {
        "url": "http://sandbox/target",
        "api_key": {"env": "KEY"},
        **protocol.declared,
        "record": protocol.record(spec),
        "record_id": spec["id"],
    }
    target = DeclaredTargets(None, file=Path("clients.yaml"), others={}, problems=problems).of_client(written, where=())
    assert target.settings is not None, problems
    return target.settings


def shape_of(protocol: Protocol, spec: Mapping[str, str]) -> Shape:
    """Return the form of the records of a protocol, with the five texts from these sources."""
    shape = settings_of(protocol, spec).record
    assert shape is not None
    return shape
