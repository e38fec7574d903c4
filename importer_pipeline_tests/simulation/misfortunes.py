"""Misfortunes of the last client of a scenario in the middle of a sync, and their end."""

from importer_pipeline.sandbox.faults import Fault, FaultPlan
from importer_pipeline.sandbox.target import Manner, Refusal
from importer_pipeline_tests.simulation.scenario import Misfortune, Scenario


def strike(scenario: Scenario) -> None:
    """Strike the last client of the scenario with its misfortune."""
    world = scenario.worlds[-1]
    account, target = scenario.sandbox.accounts[world.account], world.target
    match scenario.misfortune:
        case Misfortune.REVOKED:
            account.secrets.clear()
        case Misfortune.LIST_GONE:
            account.lists.pop(world.members.list_id, None)
        case Misfortune.OUTAGE:
            account.fault_plan = FaultPlan(rates={Fault.ERROR_500: 1.0})
        case Misfortune.TAKEN:
            account.fault_plan = FaultPlan(rates={Fault.TOO_MANY_REQUESTS: 1.0})
        case Misfortune.TARGET_DOWN:
            target.fault_plan = FaultPlan(rates={Fault.ERROR_500: 1.0})
        case Misfortune.TARGET_REVOKED:
            target.api_key = "another"
        case Misfortune.TARGET_REFUSES:
            target.refusals = (Refusal(manner=Manner.REJECT, refuses=lambda _: True),)
        case None:
            pass


def recover(scenario: Scenario) -> None:
    """End the misfortunes that pass."""
    for world in scenario.worlds:
        for sink in (world.sink, *world.other_sinks):
            sink.target.api_key, sink.target.refusals = sink.key, sink.refusals
        for source in (world.source, *world.other_sources):
            scenario.sandbox.accounts[world.account].lists.setdefault(source.list_id, source.members)
