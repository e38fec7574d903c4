"""Parts of a long list of values, for statements that take only so many at once."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

VALUES_AT_ONCE = 3000
"""Values in one statement: SQLite takes no more than some tens of thousands."""


def batches(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield the values in their order, so many at once."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
