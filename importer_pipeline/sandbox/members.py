"""The members of one list, their changes, and reading them in order.

Stays out: members as JSON (`documents`, `rendering`), the routes (`mailchimp`).
"""

import gc
import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from importer_pipeline.sandbox.listing import Listing, Ties, scattered
from importer_pipeline.sandbox.people import people

ARCHIVED = "archived"
ABSENT: Any = object()
"""As a value of `oddities`: the member has no such key."""

Order = Literal["ascending", "descending", "undocumented"]

# An odd number has an inverse modulo 2**128, so a contact_id looks like a hash, and leads back to its member without
# an index of a million strings.
_CONTACT_FACTOR = 0x9E3779B97F4A7C15F39CC0605CEDC835
_CONTACT_INVERSE = pow(_CONTACT_FACTOR, -1, 1 << 128)
_STATUSES = ("subscribed", "unsubscribed", "cleaned", "pending", "transactional")
_STATUS_SHARES = (90, 96, 98, 99, 100)


@dataclass(slots=True, eq=False)
class Member:
    """A contact as the list holds it. Everything else that Mailchimp sends of it follows from these.

    Attributes:
        serial: its number within the list.
        email: the address; `""` for a contact known by its phone number only.
        id: MD5 of the lower-case address.
        status: Mailchimp's word.
        merge_values: a value for each of the list's merge fields, in their order; None sends `merge_fields: null`.
        changed: `last_changed`, epoch seconds.
        oddities: values that replace the usual ones, `ABSENT` to leave a key out.
    """

    serial: int
    email: str
    id: str
    status: str
    merge_values: tuple[Any, ...] | None
    changed: int
    oddities: Mapping[str, Any] | None = None

    @property
    def contact_id(self) -> str:
        """Mailchimp's id of the contact that does not depend on the address."""
        return format((self.serial + 1) * _CONTACT_FACTOR % (1 << 128), "032x")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The members to read.

    Attributes:
        status: only members with it; None for the default listing, without archived ones (V).
        since: only later ones, exclusive, epoch seconds (V); None for no bound.
        before: only earlier ones, inclusive, epoch seconds (V); None for no bound.
        order: by `last_changed`, or undocumented.
        offset: number of members to skip.
        count: maximum number of members to return.
    """

    status: str | None = None
    since: int | None = None
    before: int | None = None
    order: Order = "undocumented"
    offset: int = 0
    count: int = 10


def member_id(email: str) -> str:
    """Return Mailchimp's `id` of an address: MD5 of it in lower case (D)."""
    return hashlib.md5(email.lower().encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


class MemberList:
    """One audience. Every change is atomic, and safe from any thread.

    Where a method takes a `handle`, it is a member's id, its address or its contact_id.
    """

    def __init__(
        self, list_id: str, *, name: str, merge_fields: Sequence[str], ties: Ties, now: Callable[[], int],
        random: Random, lock: threading.RLock,
    ) -> None:  # fmt: skip
        self.list_id = list_id
        self.name = name
        self.tags = tuple(merge_fields)
        self._now = now
        self._random = random
        self._ties: Ties = ties
        self._lock = lock
        self._members: list[Member | None] = []
        self._by_id: dict[str, Member] = {}
        self._listed = Listing(ties=ties, random=random)
        self._archived = Listing(ties=ties, random=random)
        self._segments: dict[str, list[Member]] = {}

    def __len__(self) -> int:
        return len(self._listed) + len(self._archived)

    def __iter__(self) -> Iterator[Member]:
        with self._lock:
            return iter([member for member in self._members if member is not None])

    def counts(self) -> Counter[str]:
        """Count the members by status."""
        return Counter(member.status for member in self)

    def find(self, handle: str) -> Member | None:
        """Return the member with that id, address or contact_id; None if the list has none."""
        with self._lock:
            found = self._by_id.get(handle)
            if found is None and "@" in handle:
                found = self._by_id.get(member_id(handle))
            return found or self._by_contact_id(handle)

    def any_member(self) -> Member | None:
        """Draw a member at random; None from an empty list."""
        with self._lock:
            while len(self):
                member = self._members[self._random.randrange(len(self._members))]
                if member is not None:
                    return member
            return None

    def fill(self, n: int, *, changed_between: tuple[int, int], seed: int, archived_share: float = 0.0) -> None:
        """Add n made-up members, changed at whole seconds drawn evenly from `changed_between`, both ends included."""
        random, (first, last) = Random(seed), changed_between
        usual, blank = self.tags[:2] == ("FNAME", "LNAME"), ("",) * (len(self.tags) - 2)
        with self._lock, no_collecting():
            numbers = range(len(self._members), len(self._members) + n)
            # In order of time, as a list grows: neighbours in a page are neighbours in memory.
            moments = sorted(random.choices(range(first, last + 1), k=n))
            statuses = random.choices(_STATUSES, cum_weights=_STATUS_SHARES, k=n)
            for who, changed, status in zip(people(random, numbers), moments, statuses, strict=True):
                if archived_share and random.random() < archived_share:
                    status = ARCHIVED
                if usual:
                    values = (who.firstname, who.lastname, *blank)
                else:
                    values = self._merge_values({"FNAME": who.firstname, "LNAME": who.lastname})
                member = Member(len(self._members), who.email, member_id(who.email), status, values, changed)
                self._members.append(member)
                self._by_id[member.id] = member
            new = self._members[numbers.start :]
            self._listed.insert_many((one.changed, one.serial) for one in new if one and one.status != ARCHIVED)
            self._archived.insert_many((one.changed, one.serial) for one in new if one and one.status == ARCHIVED)

    def add(
        self, email: str, *, merge_fields: Mapping[str, Any] | None = None, status: str = "subscribed",
        at: int | None = None, oddities: Mapping[str, Any] | None = None,
    ) -> str:  # fmt: skip
        """Add a member and return its id, or its contact_id if it has no address.

        Args:
            email: the address; `""` for a contact without one.
            merge_fields: values by tag; the tags not named are empty. Tags that the list lacks are left out.
            status: any word, even one that Mailchimp does not know yet.
            at: `last_changed`, epoch seconds; a moment in the past is a late commit. None: now.
            oddities: keys of the member as Mailchimp sends it, with the values to send instead.
        """
        with self._lock:
            serial = len(self._members)
            values = self._merge_values(merge_fields or {})
            member = Member(serial, email, member_id(email), status, values, self._moment(at), oddities)
            if email and member.id in self._by_id:
                raise ValueError("the list already has a member with this address")
            self._members.append(member)
            if email:
                self._by_id[member.id] = member
            self._insert(member)
            return member.id if email else member.contact_id

    def update(
        self, handle: str, *, merge_fields: Mapping[str, Any] | None = None, status: str | None = None,
        at: int | None = None,
    ) -> None:  # fmt: skip
        """Change merge fields (tags not named are kept) or the status, or only `last_changed`."""
        with self._changing(handle) as member:
            if merge_fields is not None:
                old = dict(zip(self.tags, member.merge_values or (), strict=False))
                member.merge_values = self._merge_values({**old, **merge_fields})
            member.status = status or member.status
            member.changed = self._moment(at)

    def archive(self, handle: str, *, at: int | None = None) -> None:
        """Archive a member: a plain delete in Mailchimp's words."""
        self.update(handle, status=ARCHIVED, at=at)

    def unarchive(self, handle: str, *, status: str = "subscribed", at: int | None = None) -> None:
        """Unarchive a member."""
        self.update(handle, status=status, at=at)

    def rename(self, handle: str, email: str, *, at: int | None = None) -> str:
        """Give a member another address, thus another id, and return that. Its contact_id stays."""
        with self._changing(handle) as member:
            new_id = member_id(email)
            if self._by_id.get(new_id, member) is not member:
                raise ValueError("the list already has a member with this address")
            self._by_id.pop(member.id, None)
            self._by_id[new_id] = member
            member.email, member.id, member.changed = email, new_id, self._moment(at)
            return new_id

    def delete(self, handle: str) -> None:
        """Delete a member permanently: it is gone without a trace (U)."""
        with self._lock:
            member = self._known(handle)
            self._remove(member)
            self._members[member.serial] = None
            if self._by_id.get(member.id) is member:
                del self._by_id[member.id]

    def add_segment(self, segment_id: int, handles: Iterable[str]) -> None:
        """Add a segment of these members; statuses may change later, and archived members are not shown (D)."""
        with self._lock:
            self._segments[str(segment_id)] = [self._known(handle) for handle in handles]

    def segment(self, segment_id: str) -> list[Member] | None:
        """Return the members of a segment in the order in which they were added; None if there is no such segment."""
        with self._lock:
            members = self._segments.get(segment_id)
            return None if members is None else [it for it in members if self._members[it.serial] is it]

    def restamp(self, handles: Iterable[str], at: int | None = None) -> None:
        """Stamp many members with one second, as a bulk import does (V)."""
        with self._lock:
            moved = {member.serial: member for member in map(self._known, handles)}
            for member in moved.values():
                member.changed = self._moment(at)
            moments = {serial: member.changed for serial, member in moved.items()}
            self._listed.move(moments)
            self._archived.move(moments)

    def read(self, selection: Selection) -> tuple[list[Member], int]:
        """Return one page of the list as it is at this moment, and the size of the whole selection."""
        with self._lock:
            listing = self._archived if selection.status == ARCHIVED else self._listed
            if selection.status not in (None, ARCHIVED):
                listing = self._of_status(selection.status)
            low, high = listing.between(selection.since, selection.before)
            start = min(high, low + selection.offset)
            if selection.order == "ascending":
                serials = listing.cut(start, min(high, start + selection.count))
            elif selection.order == "descending":
                stop = max(low, high - selection.offset)
                serials = listing.cut(max(low, stop - selection.count), stop)[::-1]
            else:
                serials = scattered(listing.serials(low, high))[selection.offset :][: selection.count]
            members = [self._members[serial] for serial in serials]
            return [member for member in members if member is not None], high - low

    def _of_status(self, status: str | None) -> Listing:
        """Make a listing for this reading: few ask for one status, so it need not be fast."""
        listing = Listing(ties=self._ties, random=self._random)
        listing.insert_many((member.changed, member.serial) for member in self if member.status == status)
        return listing

    def _merge_values(self, merge_fields: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(merge_fields.get(tag, "") for tag in self.tags)

    def _moment(self, at: int | None) -> int:
        return self._now() if at is None else at

    def _by_contact_id(self, handle: str) -> Member | None:
        if len(handle) != 32 or not set(handle) <= set("0123456789abcdef"):
            return None
        serial = int(handle, 16) * _CONTACT_INVERSE % (1 << 128) - 1
        return self._members[serial] if 0 <= serial < len(self._members) else None

    def _known(self, handle: str) -> Member:
        member = self.find(handle)
        if member is None:
            raise KeyError(handle)
        return member

    @contextmanager
    def _changing(self, handle: str) -> Generator[Member]:
        """Take a member out of its listing while it changes."""
        with self._lock:
            member = self._known(handle)
            self._remove(member)
            try:
                yield member
            finally:
                self._insert(member)

    def _insert(self, member: Member) -> None:
        self._listing_of(member).insert(member.changed, member.serial)

    def _remove(self, member: Member) -> None:
        self._listing_of(member).remove(member.changed, member.serial)

    def _listing_of(self, member: Member) -> Listing:
        return self._archived if member.status == ARCHIVED else self._listed


@contextmanager
def no_collecting() -> Generator[None]:
    """Keep the garbage collector from scanning a million new objects repeatedly: none of them is garbage."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
