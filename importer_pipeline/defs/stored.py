"""Events as Dagster's log keeps them, reduced to what is used of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import dagster as dg

Values = Mapping[str, object]
"""The values of an event's metadata, by label: texts and numbers, the data of JSON, a table as Dagster has it."""


def values_of(metadata: Mapping[str, dg.MetadataValue]) -> Values:
    """Return the values of an event's metadata."""
    return {name: value.value for name, value in metadata.items()}


@dataclass(frozen=True, slots=True)
class Stored:
    """A materialization or an observation."""

    storage_id: int
    """Grows with each event that is written."""
    run_id: str
    """Of the run that wrote it; "" where none did."""
    timestamp: float
    """Time of writing, in epoch seconds."""
    partition: str | None
    values: Values


@dataclass(frozen=True, slots=True)
class Evaluated:
    """An evaluation of a check."""

    timestamp: float
    """Time of writing, in epoch seconds."""
    values: Values
