"""A second with more contacts than fit on a page, and the proof that all of them have been seen. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence


class CrowdedSecond:
    """The contacts of a second that fill more than a page, and the proof that all of them have been seen.

    Their order may change at each request, so the pages of one round need not add up. But contacts only leave a second
    that is past. So for each total T that was answered: all pages whose total was at most T show subsets of the set
    that the second had when its total was T. Once their distinct ids are T, they are that whole set, and with it all
    unchanged contacts. Comparing the ids of all pages with the last total would be wrong: a contact that was seen and
    has left would make up for one that was not seen.

    Attributes:
        keeps_order: whether each contact kept its place as long as the total was the same.
    """

    def __init__(self) -> None:
        self._lowest_total: dict[str, int] = {}
        self._ids_at: Counter[int] = Counter()
        self._places: dict[tuple[int, str], int] = {}
        self.keeps_order = True

    def new(self, ids: Iterable[str]) -> set[str]:
        """Return the `ids` that no page has shown so far."""
        return {contact_id for contact_id in ids if contact_id not in self._lowest_total}

    def seen(self, ids: Sequence[str], total: int, *, offset: int) -> None:
        """Record a page.

        Args:
            ids: Mailchimp's ids of the contacts in the page, which have been delivered.
            total: `total_items` of that page.
            offset: start of the page within the second.
        """
        for place, contact_id in enumerate(ids, offset):
            if self._places.setdefault((total, contact_id), place) != place:
                self.keeps_order = False
        self._ids_at[total] += 0
        for contact_id in set(ids):
            lowest = self._lowest_total.get(contact_id)
            if lowest is None or total < lowest:
                self._lowest_total[contact_id] = total
                self._ids_at[total] += 1
                if lowest is not None:
                    self._ids_at[lowest] -= 1

    @property
    def is_empty(self) -> bool:
        """True if no page has shown a contact."""
        return not self._lowest_total

    @property
    def unseen(self) -> int | None:
        """Number of unchanged contacts that may not have been seen: 0 proves that all were; None before any page."""
        distinct, fewest = 0, None
        for total in sorted(self._ids_at):
            distinct += self._ids_at[total]
            if distinct <= total and (fewest is None or total - distinct < fewest):
                fewest = total - distinct
        return fewest

    @property
    def is_proved(self) -> bool:
        """True if every unchanged contact has been seen."""
        return self.unseen == 0
