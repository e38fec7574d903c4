"""`importer init`: the files to start with, for those who installed the package and have no checkout.

The files are in `start/`. Stays out: their content.
"""

import os
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from importer_pipeline.cli.exits import CommandRefused
from importer_pipeline.redaction import shown_path

START_FILES: Mapping[str, str] = {
    "clients.yaml": "clients.yaml",
    "dagster.yaml": "dagster.yaml",
    "env.example": ".env.example",
    "README.md": "README.md",
}
"""The files of `start/`, and the names that they get."""


def start_folder(folder: Path) -> list[Path]:
    """Write the files to start with; return their paths. The folder is created, and nothing is overwritten.

    Raises:
        CommandRefused: one of the files exists, or the folder can't be written to.
    """
    existing = [name for name in START_FILES.values() if os.path.lexists(folder / name)]
    if existing:
        raise CommandRefused(
            f"{shown_path(folder.absolute())} already has {', '.join(existing)}",
            remedy="nothing was written: name an empty folder, as in `importer init mailchimp-imports`",
        )
    start = files("importer_pipeline.cli") / "start"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = list[Path]()
        for source, name in START_FILES.items():
            with (folder / name).open("x", encoding="utf-8") as file:
                file.write((start / source).read_text(encoding="utf-8"))
            written.append(folder / name)
        return written
    except OSError as error:
        raise CommandRefused(
            f"the files can't be written to {shown_path(folder.absolute())} ({error.strerror or 'unknown reason'})",
            remedy="name a folder that this user may write to",
        ) from None
