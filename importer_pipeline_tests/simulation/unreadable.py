"""Faults of Mailchimp that depend on the answer: unreadable members, offsets that never answer, wrong totals."""

from collections import Counter
from collections.abc import Callable
from random import Random

from importer_pipeline.sandbox.faults import Fault
from importer_pipeline.sandbox.members import Member, MemberList
from importer_pipeline.sandbox.messages import SandboxAnswer, SandboxRequest
from importer_pipeline.sandbox.twists import (
    Nonsense,
    Twist,
    beyond_offset,
    edge_page,
    empty,
    senseless,
    where_members,
    with_total,
    without,
)
from importer_pipeline_tests.simulation.scenario import Scenario, World
from importer_pipeline_tests.simulation.spells import Spell, SpellDimension

_FAULTS = (Fault.ERROR_500, edge_page(502), Fault.CUT, Fault.BROKEN_JSON, Fault.HANG, Fault.GATEWAY_TIMEOUT)


class UnreadableMembers(SpellDimension):
    """Some members of one list spoil every answer that holds them: for ever, or for a while."""

    def __init__(self, scenario: Scenario, rng: Random) -> None:
        super().__init__(scenario, rng)
        world = rng.choice(scenario.worlds)
        self._list = world.members
        known = [member for member in world.members if member.email]
        chosen = rng.sample(known, min(len(known), rng.choice((1, 1, 2, 4))))
        self._serials = {member.serial for member in chosen}
        self._contact_ids = [member.contact_id for member in chosen]
        self._nonsense = rng.choice((None, *Nonsense))
        self._fault = rng.choice(_FAULTS)
        self._spell = Spell(rng, begins=0.01, ends=0.0 if rng.random() < 0.5 else 0.005)
        scenario.sandbox.accounts[world.account].twists.append(self._twist)

    def unreadable(self, world: World, member: Member, *, ever: bool) -> bool:
        """Return whether the member was chosen and its spell is on."""
        is_so = self._spell.is_or_was_on(ever=ever)
        return is_so and world.members is self._list and member.serial in self._serials

    def _twist(self, request: SandboxRequest, answer: SandboxAnswer) -> SandboxAnswer | Fault:
        if not self._spell.is_on or self._list.list_id not in request.path:
            return answer
        ids = _present_ids(self._list, self._contact_ids)
        becomes = self._fault if self._nonsense is None else senseless(ids, self._nonsense)
        return where_members(ids, becomes)(request, answer)


class DeepOffsets(SpellDimension):
    """Pages beyond an offset never answer, however small they are: for a while, or for ever."""

    def __init__(self, scenario: Scenario, rng: Random) -> None:
        super().__init__(scenario, rng)
        world = rng.choice(scenario.worlds)
        self._spell = Spell(rng, begins=0.02, ends=0.0 if rng.random() < 0.5 else 0.005)
        self._account = world.account
        self._worlds = [it for it in scenario.worlds if it.account == world.account]
        self._max_unreadable = scenario.paging.max_unreadable
        self._usual_limit = rng.randint(5, 30)
        self._fault = rng.choice((Fault.HANG, Fault.GATEWAY_TIMEOUT))
        scenario.sandbox.accounts[world.account].twists.append(_while(self._spell, self._twist))

    def unreadable(self, world: World, member: Member, *, ever: bool) -> bool:
        """Tell whether more contacts share the member's second than can be reached in it: no time leads to the others."""
        is_so = self._spell.is_or_was_on(ever=ever)
        if not is_so or world.account != self._account:
            return False
        is_archived = member.status == "archived"
        together = [
            it for it in world.members if it.changed == member.changed and (it.status == "archived") is is_archived
        ]
        return len(together) > self._limit

    @property
    def _limit(self) -> int:
        """What lies deeper in one second is left out contact by contact, of which no more than so many are borne."""
        return max(self._usual_limit, *(_largest_second(it) - self._max_unreadable for it in self._worlds))

    def _twist(self, request: SandboxRequest, answer: SandboxAnswer) -> SandboxAnswer | Fault:
        return beyond_offset(self._limit, self._fault)(request, answer)


class WrongTotals(SpellDimension):
    """`total_items` is too large for a while, or a whole list is empty when it is asked for the first time.

    Only whole lists: most hours are empty anyway, so a wrongly empty hour can't be detected.
    """

    def __init__(self, scenario: Scenario, rng: Random) -> None:
        super().__init__(scenario, rng)
        world = rng.choice(scenario.worlds)
        account = scenario.sandbox.accounts[world.account]
        more = rng.choice((1, 5, 30, 300))
        self._spell = Spell(rng, begins=0.02, ends=0.005)
        self._moment = Spell(rng, begins=rng.choice((0.0, 0.01)), ends=0.1)
        self._asked: set[tuple[str, str, str]] = set()
        account.twists.append(_while(self._spell, with_total(lambda total: total + more)))
        account.twists.append(_while(self._moment, self._empty_once))

    def step(self) -> None:
        """Begin or end, perhaps, and so may the moment of empty lists."""
        super().step()
        self._moment.pass_time()

    def heal(self) -> None:
        """End both."""
        self._moment.heal()
        super().heal()

    def _empty_once(self, request: SandboxRequest, answer: SandboxAnswer) -> SandboxAnswer:
        is_page = answer.status == 200 and request.path.endswith("/members")
        if not is_page or "since_last_changed" in request.query or request.query.get("offset", "0") != "0":
            return answer
        asked = (request.path, request.query.get("status", ""), request.query["before_last_changed"])
        if asked in self._asked:
            return answer
        self._asked.add(asked)
        return empty(answer)


class HiddenMembers(SpellDimension):
    """Pages leave out a member that their total counts, for a while."""

    def __init__(self, scenario: Scenario, rng: Random) -> None:
        super().__init__(scenario, rng)
        world = rng.choice(scenario.worlds)
        self._list = world.members
        known = [member.contact_id for member in world.members]
        self._contact_ids = rng.sample(known, min(len(known), 1))
        self._spell = Spell(rng, begins=0.05, ends=0.005)
        scenario.sandbox.accounts[world.account].twists.append(_while(self._spell, self._hide))

    def unreadable(self, world: World, member: Member, *, ever: bool) -> bool:
        """Return whether the member was chosen and its spell is on.

        Mostly its second fails as a whole. If the last try of its page fails for another reason, it is known by its
        position, as one that can't be read is.
        """
        is_so = self._spell.is_or_was_on(ever=ever)
        return is_so and world.members is self._list and member.contact_id in self._contact_ids

    def _hide(self, request: SandboxRequest, answer: SandboxAnswer) -> SandboxAnswer:
        hidden = _present_ids(self._list, self._contact_ids)
        if self._list.list_id not in request.path or answer.status != 200 or not request.path.endswith("/members"):
            return answer
        return without(answer, hidden)


def _while(spell: Spell, twist: Twist) -> Twist:
    return lambda request, answer: twist(request, answer) if spell.is_on else answer


def _largest_second(world: World) -> int:
    return max(Counter(member.changed for member in world.members).values(), default=0)


def _present_ids(members: MemberList, contact_ids: list[str]) -> list[str]:
    find: Callable[[str], Member | None] = members.find
    return [member.id for contact_id in contact_ids if (member := find(contact_id)) is not None]
