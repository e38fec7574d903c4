"""The windows of an audience, or other partitions, as Dagster's UI shows them: the same GraphQL, but in this process.

Stays out: the UI itself (see `ui`).
"""

import asyncio
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster_graphql.schema import create_schema

_QUERY = """
query Windows($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) {
    ... on AssetNode {
      partitionKeys
      partitionStats { numPartitions numMaterialized numFailed numMaterializing }
      assetPartitionStatuses {
        ... on DefaultPartitionStatuses {
          materializedPartitions failedPartitions materializingPartitions unmaterializedPartitions
        }
      }
    }
  }
}
"""

_DEFINITIONS = """
from pathlib import Path
from importer_pipeline.clients.collection import load_clients
from importer_pipeline.definitions import build_defs
defs = build_defs(load_clients(Path({clients!r})))
"""


_schema = cache(create_schema)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The windows of an audience.

    Attributes:
        keys: all, in the order in which they are shown.
        green: imported ones.
        red: failed ones.
        blue: those that a run is at.
        grey: those that are missing.
    """

    keys: list[str]
    green: set[str]
    red: set[str]
    blue: set[str]
    grey: set[str]


def shown(instance: dg.DagsterInstance, audience: str, *, clients: Path) -> Shown:
    """Return the windows of an audience (`client/audience`) as the UI shows them.

    Args:
        instance: the instance with the runs.
        audience: the audience.
        clients: the clients file.
    """
    return shown_partitions(instance, [*audience.split("/"), "contact_windows"], clients=clients)


def shown_partitions(instance: dg.DagsterInstance, key: list[str], *, clients: Path) -> Shown:
    """Return the partitions of an asset as the UI shows them: see `shown`."""
    answer = asyncio.run(_ask(instance, {"path": key}, clients=clients))
    statuses, counts = answer["assetPartitionStatuses"], answer["partitionStats"]
    red, blue = set(statuses["failedPartitions"]), set(statuses["materializingPartitions"])
    found = Shown(
        keys=answer["partitionKeys"],
        green=set(statuses["materializedPartitions"]),
        red=red,
        blue=blue,
        # Those that have never been in are among them, failed or not, and are not shown in grey.
        grey=set(statuses["unmaterializedPartitions"]) - red - blue,
    )
    assert counts == {
        "numPartitions": len(found.keys), "numMaterialized": len(found.green), "numFailed": len(found.red),
        "numMaterializing": len(found.blue),
    }  # fmt: skip
    return found


async def _ask(instance: dg.DagsterInstance, key: dict[str, Any], *, clients: Path) -> dict[str, Any]:
    path = clients.with_name("shown_definitions.py")
    path.write_text(_DEFINITIONS.format(clients=str(clients)), encoding="utf-8")
    origin = InProcessCodeLocationOrigin(LoadableTargetOrigin(python_file=str(path), attribute="defs"))
    with WorkspaceProcessContext(instance, InProcessWorkspaceLoadTarget(origin)) as context:
        result = await _schema().execute_async(
            _QUERY, context_value=context.create_request_context(), variable_values={"key": key}
        )
    assert result.errors is None
    assert result.data is not None
    return result.data["assetNodeOrError"]
