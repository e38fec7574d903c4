"""The clients that a command is about.

Stays out: reading and checking the file (`clients/`).
"""

import os
from pathlib import Path

from importer_pipeline.cli.exits import CommandRefused
from importer_pipeline.clients.collection import Clients, load_clients
from importer_pipeline.redaction import shown_path


def load_declared(path: Path) -> Clients:
    """Load the clients file, or a folder of them.

    Raises:
        CommandRefused: there is nothing at the path.
        ClientsFileInvalid: as `load_clients`.
    """
    if not os.path.lexists(path):
        raise CommandRefused(
            f"there is no clients file at {shown_path(path.absolute())}",
            remedy="write one with `importer init`, or name yours with --clients or IMPORTER_CLIENTS",
        )
    return load_clients(path)
