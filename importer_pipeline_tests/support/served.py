"""`dagster dev`, and the actions of its UI: launching and terminating, by GraphQL over HTTP; or a daemon without a UI."""

import http
import json
import socket
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import requests

from importer_pipeline_tests.support.commands import Commands
from importer_pipeline_tests.support.loopback import free_port
from importer_pipeline_tests.support.patience import until

_HOST = "127.0.0.1"

_LAUNCH = """mutation ($params: ExecutionParams!) {
  launchPipelineExecution(executionParams: $params) { ... on LaunchRunSuccess { run { runId } } }
}"""
_BACKFILL = """mutation ($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) { ... on LaunchBackfillSuccess { backfillId } }
}"""
_TERMINATE = """mutation ($run: String!) {
  terminateRun(runId: $run) { ... on TerminateRunSuccess { run { runId } } }
}"""


class Ui:
    """The actions of a user in the UI of a webserver.

    Args:
        url: the URL of the webserver.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def launch(self, job: str, config: Mapping[str, Any], *, location: str = "importer_pipeline") -> str:
        """Launch a job of a code location; return its run's id."""
        selector = {
            "repositoryLocationName": location,
            "repositoryName": "__repository__",
            "pipelineName": job,
        }
        params = {"selector": selector, "runConfigData": json.dumps(config), "mode": "default"}
        return self._done(_LAUNCH, params=params)["run"]["runId"]

    def launch_backfill(self, asset: dg.AssetKey, partitions: Sequence[str]) -> str:
        """Launch a backfill of these partitions; return its id."""
        params = {"assetSelection": [{"path": asset.path}], "partitionNames": list(partitions)}
        return self._done(_BACKFILL, params=params)["backfillId"]

    def terminate(self, run_id: str) -> None:
        """Terminate a run, as the button does."""
        self._done(_TERMINATE, run=run_id)

    def _done(self, mutation: str, **variables: Any) -> dict[str, Any]:
        """Send a mutation; return its one field."""
        answer = requests.post(f"{self._url}/graphql", json={"query": mutation, "variables": variables}, timeout=None)
        (done,) = answer.json()["data"].values()
        assert done, answer.text
        return done

    @property
    def answers(self) -> bool:
        """True if the webserver is ready."""
        try:
            return requests.get(f"{self._url}/server_info", timeout=None).status_code == http.HTTPStatus.OK
        except requests.ConnectionError:
            return False


class ServedDagster(Ui):
    """Webserver and daemon, from the moment at which they answer until the commands' `with` block ends.

    Args:
        commands: with whose DAGSTER_HOME they are started.

    Attributes:
        process: the command.
    """

    def __init__(self, commands: Commands) -> None:
        port = free_port()
        super().__init__(f"http://{_HOST}:{port}")
        self.process = commands.start("dev", "-h", _HOST, "-p", str(port))
        until(lambda: self.process.poll() is not None or self.answers)
        assert self.process.poll() is None


def start_daemon(commands: Commands) -> None:
    """Start a code server and a daemon, for tests that look at no page: a webserver would take a third of the CPU time."""
    port = free_port()
    commands.start("api", "grpc", "-h", _HOST, "-p", str(port))
    # A daemon that finds no code server sees the schedules a minute later.
    until(lambda: _listens(port))
    commands.start_daemon(port=port)


def _listens(port: int) -> bool:
    try:
        socket.create_connection((_HOST, port)).close()
    except ConnectionRefusedError:
        return False
    return True
