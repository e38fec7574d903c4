"""Events as Dagster's log keeps them, reduced to what is used of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import dagster as dg


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
    metadata: Mapping[str, dg.MetadataValue]


@dataclass(frozen=True, slots=True)
class Evaluated:
    """An evaluation of a check."""

    timestamp: float
    """Time of writing, in epoch seconds."""
    metadata: Mapping[str, dg.MetadataValue]
