"""Some clients of a deployment, whose Mailchimp's clock is hours behind."""

from importer_pipeline.clients.shards import Shard
from importer_pipeline.listing.hours import HOUR_SECONDS
from importer_pipeline.sandbox.faults import FaultPlan
from importer_pipeline_tests.support.held_client import Holding
from importer_pipeline_tests.support.stage import Stage


class World:
    """Some clients, six hours ago by Mailchimp's clock."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        for client in stage.clients.values():
            client.account.clock_offset_seconds = -6 * HOUR_SECONDS
            for listed in client.lists:
                for number, member in enumerate(list(listed)):
                    listed.restamp([member.contact_id], client.account.now() - HOUR_SECONDS - 60 * number)

    def of_shard(self, shard: Shard) -> list[str]:
        """Return the clients of a shard, each alone on its account."""
        return [client.name for client in self.stage.load(self.stage.on_own_accounts()).of_shard(shard).clients]

    @property
    def missing(self) -> set[str]:
        """Ids of contacts whose present values are not at their targets."""
        return set[str]().union(*(self.stage.missing(name) for name in self.stage.clients))

    def let_an_hour_pass(self) -> None:
        """Change contacts, and move Mailchimp's clock forward by an hour."""
        for client in self.stage.clients.values():
            for member in list(client.lists[0])[:3]:
                client.lists[0].update(member.contact_id, merge_fields={"FNAME": f"At {client.account.now()}"})
            client.account.clock_offset_seconds += HOUR_SECONDS

    def hold(self, names: list[str]) -> list[Holding]:
        """Answer their accounts very late from now on."""
        held = [Holding(quick_pages=0, held_seconds=60.0) for _ in names]
        for name, holding in zip(names, held, strict=True):
            self.stage.clients[name].account.fault_plan = holding
        return held

    def let_go(self) -> None:
        """Answer all at once from now on."""
        for client in self.stage.clients.values():
            client.account.fault_plan = FaultPlan()

    @property
    def most_in_progress(self) -> int:
        """Maximum number of our requests that an account had at once, including those it refused for that."""
        figures = [it.account.traffic.figures(self.stage.sandbox.clock()) for it in self.stage.clients.values()]
        return max(it.peak_in_progress + it.refused_429 for it in figures)
