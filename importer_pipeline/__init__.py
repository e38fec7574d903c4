"""Imports the contacts of many Mailchimp accounts into an external API, run by Dagster.

`dagster ... -m importer_pipeline` looks in here for the definitions, and finds `code_location`. It is loaded only when asked
for, so that any other module of the package can be imported without Dagster. It can't be called `defs`, as in
`importer_pipeline.definitions`: that name is taken by the folder.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importer_pipeline.definitions import defs as code_location

__all__ = ["code_location"]


def __getattr__(name: str) -> object:
    if name != "code_location":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importer_pipeline.definitions import defs

    return defs


def __dir__() -> list[str]:
    # Dagster takes what `dir` shows, which leaves out what `__getattr__` makes.
    return sorted({*globals(), *__all__})
