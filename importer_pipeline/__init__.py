"""Imports the contacts of many Mailchimp accounts into an external API, run by Dagster.

`dagster ... -m importer_pipeline` looks in here for the definitions, and finds `code_location`. It is loaded only when asked
for, so that any other module of the package can be imported without Dagster. It can't be called `defs`, as in
`importer_pipeline.definitions`: that name is taken by the folder.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importer_pipeline.definitions import build_defs
    from importer_pipeline.definitions import defs as code_location

__all__ = ["build_defs", "code_location"]

_NAMES = {"build_defs": "build_defs", "code_location": "defs"}
"""What the package shows of `definitions`, and its name there."""


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("importer_pipeline.definitions"), _NAMES[name])


def __dir__() -> list[str]:
    # Dagster takes what `dir` shows, which leaves out what `__getattr__` makes.
    return sorted({*globals(), *__all__})
