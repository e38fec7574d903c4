"""Dagster's webserver and daemon for the real project, with a state of their own.

Stays out: the world that is imported (see `stage`), the browser (see `browser`).
"""

import http
import shutil
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import requests

import importer_pipeline
from importer_pipeline.sandbox.children import DagsterChild, environment
from importer_pipeline_tests.support.loopback import free_port

LOG = "dagster.log"
"""The file with all that they print, in the folder that they are given."""

_SETTINGS = Path(importer_pipeline.__file__).parents[1] / "dagster.yaml"
_HOST = "127.0.0.1"
_START_SECONDS = 120.0
_LOOK_EVERY_SECONDS = 0.3


class DagsterDidNotStart(Exception):
    """The UI can't be had."""


@contextmanager
def dagster_served(clients_file: Path, *, folder: Path) -> Generator[str]:
    """Run `dagster dev` for these clients while the `with` block runs; yield the URL of its UI.

    Args:
        clients_file: the clients file.
        folder: for Dagster's state, its log and the locks.

    Raises:
        DagsterDidNotStart: it ended, or did not answer.
    """
    url = f"http://{_HOST}:{(port := free_port())}"
    home = folder / "dagster_home"
    home.mkdir()
    shutil.copy(_SETTINGS, home)
    variables = environment(clients_file, dagster_home=home)
    # The locks of the user's own syncs lie elsewhere.
    variables |= {"XDG_STATE_HOME": str(folder / "state")}
    command = ["dev", "-m", "importer_pipeline", "-h", _HOST, "-p", str(port)]
    with (
        (folder / LOG).open("w", encoding="utf-8") as log,
        DagsterChild(command, variables=variables, output=log) as child,
    ):
        until = time.monotonic() + _START_SECONDS
        while not _answers(url):
            if child.exit_code is not None or time.monotonic() > until:
                raise DagsterDidNotStart(f"dagster dev does not answer at {url}; its log: {folder / LOG}")
            time.sleep(_LOOK_EVERY_SECONDS)
        yield url


def _answers(url: str) -> bool:
    try:
        with requests.Session() as session:
            session.trust_env = False
            return session.get(f"{url}/server_info", timeout=5).status_code == http.HTTPStatus.OK
    except requests.RequestException:
        return False
