"""What several scenarios of this folder need: the config of a run, and a client whose account is taken."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from importer_pipeline.clients.collection import load_clients
from importer_pipeline_tests.support.locked_accounts import locked_account


def config_file(folder: Path, op: str, *, mailchimp: Mapping[str, Any] | None = None, **config: Any) -> str:
    """Write the config of a run without retries; return its path.

    Args:
        folder: for the file.
        op: name of the job's one op.
        mailchimp: more config of the resource `mailchimp`.
        config: config of the op.
    """
    once = {"retries": 0, "retry_pause_seconds": 0.01}
    document = {"ops": {op: {"config": config}}, "resources": {"mailchimp": {"config": {**once, **(mailchimp or {})}}}}
    path = folder / f"run-{len(list(folder.glob('run-*.yaml')))}.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return str(path)


@contextmanager
def locked_client(clients: Path, name: str) -> Generator[None]:
    """Lock the account of a client of a clients file, as another sync, while the `with` block runs."""
    client = next(it for it in load_clients(clients).clients if it.name == name)
    with locked_account(client) as was_free:
        assert was_free
        yield
