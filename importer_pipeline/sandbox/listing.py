"""Members in order of `last_changed`: fast to cut a page from, also among a million, and cheap to change.

Members are known here by the moment they changed and their serial only.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Mapping
from random import Random
from typing import Literal

Ties = Literal["drawn", "stable"]
"""The order within one second: drawn at each reading, or stable."""

_SERIAL_BITS = 32
_SERIALS = (1 << _SERIAL_BITS) - 1
_SCATTER = 0x9E3779B1


class Listing:
    """Serials in the order of their moments, as one sorted list of whole numbers.

    A plain list: removing one of a million moves 8 MB, which takes a few tenths of a millisecond.
    """

    def __init__(self, *, ties: Ties, random: Random) -> None:
        self._ties = ties
        self._random = random
        self._keys: list[int] = []

    def __len__(self) -> int:
        return len(self._keys)

    def insert(self, moment: int, serial: int) -> None:
        """Add a serial."""
        insort(self._keys, moment << _SERIAL_BITS | serial)

    def insert_many(self, moments: Iterable[tuple[int, int]]) -> None:
        """Add many: moments, each with its serial."""
        self._keys += [moment << _SERIAL_BITS | serial for moment, serial in moments]
        self._keys.sort()

    def remove(self, moment: int, serial: int) -> None:
        """Remove a serial."""
        del self._keys[bisect_left(self._keys, moment << _SERIAL_BITS | serial)]

    def move(self, moments: Mapping[int, int]) -> None:
        """Give new moments to those serials that are here, and ignore the others."""
        here = [key & _SERIALS for key in self._keys if key & _SERIALS in moments]
        self._keys = [key for key in self._keys if key & _SERIALS not in moments]
        self.insert_many((moments[serial], serial) for serial in here)

    def between(self, since: int | None, before: int | None) -> tuple[int, int]:
        """Return the positions of all with `since < moment <= before`."""
        low = 0 if since is None else self._end_of(since)
        high = len(self._keys) if before is None else self._end_of(before)
        return low, max(low, high)

    def serials(self, low: int, high: int) -> list[int]:
        """Return the serials at these positions, in order; within a second, by serial."""
        return [key & _SERIALS for key in self._keys[low:high]]

    def cut(self, start: int, stop: int) -> list[int]:
        """Return the serials at these positions; with drawn ties as if the whole listing had just been drawn."""
        page = self._keys[start:stop]
        if self._ties == "drawn" and page:
            for key in (page[0], page[-1]):
                second = key >> _SERIAL_BITS
                low, high = self._end_of(second - 1), self._end_of(second)
                first, end = max(low, start) - start, min(high, stop) - start
                page[first:end] = self._random.sample(self._keys[low:high], end - first)
            draw = self._random.random
            page.sort(key=lambda key: (key >> _SERIAL_BITS) + 0.999 * draw())
        return [key & _SERIALS for key in page]

    def _end_of(self, second: int) -> int:
        return bisect_right(self._keys, second << _SERIAL_BITS | _SERIALS)


def scattered(serials: Iterable[int]) -> list[int]:
    """Return the serials in an arbitrary order that is always the same."""
    return sorted(serials, key=lambda serial: serial * _SCATTER & _SERIALS)
