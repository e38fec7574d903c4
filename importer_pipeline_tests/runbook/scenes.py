"""What several scenarios of this folder need: the config of a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml


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
