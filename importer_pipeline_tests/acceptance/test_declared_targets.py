"""Full syncs to targets with declared protocols: whatever they speak, they end with all contacts, or say who is missing."""

from pathlib import Path

from importer_pipeline.sandbox.compare import default_record
from importer_pipeline.sandbox.protocols import PROTOCOLS, SEED
from importer_pipeline.sandbox.target import Manner, Refusal
from importer_pipeline_tests.support.runs import full_sync
from importer_pipeline_tests.support.stage import Stage


def test_targets_with_five_protocols_get_all_contacts(tmp_path: Path) -> None:
    """A refused contact is in the quarantine, and costs as many posts as its target names it with."""
    with Stage(tmp_path) as stage:
        refused = dict[str, str]()
        for name, protocol in PROTOCOLS.items():
            client = stage.add(name, contacts=60)
            client.target.protocol = protocol
            member = next(iter(client.lists[0]))
            refused[name] = member.id
            client.target.refusals = (Refusal.of_ids({member.id}, Manner.COUNT),)
        declared = stage.declared()
        for name, protocol in PROTOCOLS.items():
            declared[name]["target"] |= protocol.section("id") if protocol is not SEED else {}
        ran = full_sync(stage.load(declared))
        for name, client in stage.clients.items():
            members = client.lists[0]
            wanted = {it.id for member in members if (it := default_record(member, members)) is not None}
            assert set(client.target.records) == wanted - {refused[name]}, name
        entries = {line.partition.partition("/")[0]: line.numbers for line in ran.log if line.asset == "quarantine"}
        assert {name: numbers["contacts"] for name, numbers in entries.items()} == dict.fromkeys(PROTOCOLS, 1)
        assert "not_acceptable" in str(entries["one"]["reason"])
        # Whom the target names, nobody has to find: a page of active contacts and one of archived ones.
        assert stage.clients["lines"].target.posts <= 60 // 6 + 2
        assert stage.clients["errors"].target.posts <= 60 // 4 + 2 + 1
