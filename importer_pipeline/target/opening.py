"""Opens a client's account at a target, whatever the target speaks."""

from collections.abc import Mapping

from pydantic import SecretStr

from importer_pipeline.http.connections import Adapter
from importer_pipeline.target.client import TargetClient, TargetLimits
from importer_pipeline.target.declaration import CLIENT_ID, CLIENT_SECRET, Declaration, PythonEntry
from importer_pipeline.target.declared import DeclaredTarget
from importer_pipeline.target.protocol import Target
from importer_pipeline.target.python import PythonTargetClient
from importer_pipeline.target.tokens import TokenSource


def open_target(
    url: str,
    declaration: Declaration | PythonEntry | None,
    secrets: Mapping[str, SecretStr],
    *,
    limits: TargetLimits,
    adapter: Adapter | None = None,
) -> Target:
    """Return an API client for an account at a target.

    Args:
        url: the target's URL.
        declaration: its protocol; None for the default.
        secrets: the secrets by name; the default protocol needs `api_key`.
        limits: timeouts and size limits.
        adapter: what carries the requests; None for the connections to its host.

    Raises:
        SecretMissing: a secret can't be sent in a header.
    """
    if declaration is None:
        return TargetClient(url, secrets["api_key"], limits=limits, adapter=adapter)
    if isinstance(declaration, PythonEntry):
        return PythonTargetClient(declaration.entry_point, declaration.options, secrets)
    tokens = None
    if declaration.token is not None:
        pair = secrets[CLIENT_ID], secrets[CLIENT_SECRET]
        tokens = TokenSource(declaration.token, *pair, limits=limits, adapter=adapter)
    return DeclaredTarget(url, declaration, secrets, limits=limits, adapter=adapter, tokens=tokens)
