"""Clients of a sandbox, and changes of their contacts."""

from importer_pipeline.sandbox.core import Sandbox
from importer_pipeline.sandbox.demo import DemoOptions, build_world
from importer_pipeline.sandbox.faults import Latency
from importer_pipeline.sandbox.target import Manner
from importer_pipeline.sandbox.world import World

NOW = 1_700_000_000.0


def _world(seed: int, contacts: int = 30) -> World:
    options = DemoOptions(
        clients=2, audiences=2, contacts=contacts, archived_share=0.2, latency=Latency(), target_latency=Latency(),
        rates={}, target_rates={}, target_rates_after_storing={}, page_limit=None, revoked=False, hanging=False,
        refused=0, manner=Manner.COUNT, seed=seed,
    )  # fmt: skip
    world, _ = build_world(options, Sandbox(clock=lambda: NOW, seed=seed))
    return world


def _state(world: World) -> list[tuple[str, str, str, int]]:
    lists = [members for client in world.clients for members in client.lists]
    return [(members.list_id, one.id, one.status, one.changed) for members in lists for one in members]


def test_the_same_seed_makes_the_same_world_and_the_same_changes() -> None:
    worlds = [_world(3), _world(3)]
    for world in worlds:
        world.change(200)
    assert _state(worlds[0]) == _state(worlds[1]) != _state(_world(4))


def test_a_thousand_changes_change_everything_that_may_change() -> None:
    world = _world(1)
    before = {row[1] for row in _state(world)}
    world.change(1000)
    after = _state(world)
    assert before - {row[1] for row in after}, "somebody got another address"
    assert len(after) > len(before), "somebody came"
    assert {row[3] for row in after if row[3] == NOW}, "somebody changed now"


def test_list_ids_are_unique_over_all_clients() -> None:
    ids = [members.list_id for client in _world(1, contacts=1).clients for members in client.lists]
    assert len(set(ids)) == 4


def test_a_world_without_clients_has_nothing_to_change() -> None:
    world = World(Sandbox(clock=lambda: NOW))
    world.change(5)
    assert (world.stats()["changes"], world.compare()) == (0, {"kept": True, "clients": {}})


def test_a_random_member_of_a_list_with_gaps_exists() -> None:
    (members, *_) = _world(1).clients[0].lists
    for one in list(members)[:29]:
        members.delete(one.contact_id)
    assert {one.id for one in [members.any_member() for _ in range(20)] if one} == {one.id for one in members}
