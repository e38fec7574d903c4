"""Changes of contacts during an import."""

from collections.abc import Callable
from copy import copy

from importer_pipeline_tests.simulation.scenario import LATE_SECONDS, Scenario, World


def change(scenario: Scenario) -> None:
    """Change some contacts of one audience."""
    rng = scenario.rng
    world = rng.choice(scenario.worlds)
    if world.other_sources and rng.random() < 0.2:
        world = copy(world)
        world.source = rng.choice(world.other_sources)
    weights = (1, 0, 0, 0, 0, 0, 0, 0) if scenario.is_crowded else (30, 15, 10, 10, 8, 8, 4, 4)
    rng.choices(_CHANGES, weights)[0](scenario, world)


def _stamp(scenario: Scenario, world: World) -> int | None:
    """Return the present second; sometimes an earlier one, for a late commit."""
    if scenario.rng.random() < 0.85:
        return None
    account = scenario.sandbox.accounts[world.account]
    return account.now() - scenario.rng.randint(1, LATE_SECONDS)


def _touch(scenario: Scenario, world: World, handle: str) -> None:
    member = world.members.find(handle)
    if member is not None:
        world.touched[member.serial] = scenario.clock.now


def _some(world: World) -> str | None:
    member = world.members.any_member()
    return None if member is None or not member.email else member.contact_id


def _update(scenario: Scenario, world: World) -> None:
    if (handle := _some(world)) is not None:
        values = {"FNAME": f"F{scenario.rng.randrange(1000)}"}
        world.members.update(handle, merge_fields=values, at=_stamp(scenario, world))
        _touch(scenario, world, handle)


def _add(scenario: Scenario, world: World) -> None:
    email = f"new-{scenario.rng.getrandbits(48):012x}@example.org"
    handle = world.members.add(email, merge_fields={"LNAME": "N"}, at=_stamp(scenario, world))
    _touch(scenario, world, handle)


def _archive(scenario: Scenario, world: World) -> None:
    if (handle := _some(world)) is not None:
        world.members.archive(handle, at=_stamp(scenario, world))
        _touch(scenario, world, handle)


def _unarchive(scenario: Scenario, world: World) -> None:
    if (handle := _some(world)) is not None:
        world.members.unarchive(handle, at=_stamp(scenario, world))
        _touch(scenario, world, handle)


def _rename(scenario: Scenario, world: World) -> None:
    if (handle := _some(world)) is not None:
        world.members.rename(
            handle, f"moved-{scenario.rng.getrandbits(48):012x}@example.net", at=_stamp(scenario, world)
        )
        _touch(scenario, world, handle)


def _delete(_scenario: Scenario, world: World) -> None:
    if (handle := _some(world)) is not None:
        world.members.delete(handle)


def _storm(scenario: Scenario, world: World) -> None:
    for _ in range(scenario.rng.randint(5, 40)):
        _update(scenario, world)


def _bulk(scenario: Scenario, world: World) -> None:
    """Stamp many contacts with one second, perhaps a little in the past, as a bulk import does."""
    handles = {handle for _ in range(scenario.rng.randint(2, 60)) if (handle := _some(world)) is not None}
    world.members.restamp(handles, _stamp(scenario, world))
    for handle in handles:
        _touch(scenario, world, handle)


_CHANGES: tuple[Callable[[Scenario, World], None], ...] = (
    _update,
    _add,
    _archive,
    _unarchive,
    _rename,
    _delete,
    _storm,
    _bulk,
)
