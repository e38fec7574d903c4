"""The layout of plain tables for a terminal. Pure."""

import unicodedata
from collections.abc import Sequence

from importer_pipeline.redaction import shown

_GAP = "  "


def cell(text: str, *, max_characters: int = 60) -> str:
    """Return a text from outside in a form safe for a terminal: on one line, without control characters."""
    return shown(text, max_characters=max_characters)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows in aligned columns under their headings; each cell must be safe for a terminal."""
    widths = [max(map(_width, column)) for column in zip(headings, *rows, strict=True)]
    return "\n".join(_line(row, widths) for row in (headings, *rows))


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    padded = (text + " " * (width - _width(text)) for text, width in zip(row, widths, strict=True))
    return _GAP.join(padded).rstrip()


def _width(text: str) -> int:
    """Return the columns that a text takes: two for wide characters, none for those that combine with the one before."""
    return len(text) if text.isascii() else sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
