"""A multi-asset whose assets have partitions of their own each.

Dagster takes such assets, but raises an error where it asks for the partitions that they all have. Only its telemetry
does, which counts assets when `dagster job execute` starts: unless telemetry is off in the dagster.yaml of DAGSTER_HOME,
no job would run. Stays out: the assets (`assets.py`).
"""

import warnings
from functools import cached_property
from typing import Any

import dagster as dg


class OwnPartitions(dg.AssetsDefinition):
    """The multi-asset; so is whatever Dagster makes of it, such as a selection of its assets."""

    @classmethod
    def of(cls, assets: dg.AssetsDefinition) -> "OwnPartitions":
        """Return the same assets without the error."""
        return cls.dagster_internal_init(**assets.get_attributes_dict())

    @staticmethod
    def dagster_internal_init(**attributes: Any) -> "OwnPartitions":  # pyright: ignore[reportIncompatibleMethodOverride]
        """Make a copy as Dagster does, which does not warn of its own parameters that are in beta."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.BetaWarning)
            warnings.simplefilter("ignore", dg.PreviewWarning)
            return OwnPartitions(**attributes)

    @cached_property
    def partitions_def(self) -> dg.PartitionsDefinition | None:
        """The partitions of all its assets; None if they differ."""
        found = {spec.partitions_def for spec in self.specs if spec.key in self.keys}
        return found.pop() if len(found) == 1 else None
