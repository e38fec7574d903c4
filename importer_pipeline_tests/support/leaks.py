"""Looks for secrets and personal data in what a run leaves behind, in every form that they may have there.

Stays out: what a run leaves behind, and where (see `test_quiet`).
"""

import base64
import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

_ALIGNMENTS = range(3)


def shapes(text: str) -> set[bytes]:
    """Return the forms in which a text may be in a file: plain, escaped, encoded, in capitals, in base64."""
    plain = {text, text.lower(), text.upper(), json.dumps(text)[1:-1], repr(text)[1:-1], ascii(text)[1:-1]}
    plain |= {quote(text, safe=""), quote(text, safe="").lower(), json.dumps(json.dumps(text)[1:-1])[1:-1]}
    found = {shape.encode("utf-8") for shape in plain}
    found |= {text.encode("utf-16-le"), repr(text.encode("utf-8"))[2:-1].encode("ascii")}
    for content in (text.encode("utf-8"), text.encode("latin-1", "ignore")):
        for before in _ALIGNMENTS:
            # Neighbouring bytes change the first and the last characters; the middle is always the same.
            encoded = base64.b64encode(bytes(before) + content)
            middle = encoded[(0, 2, 3)[before] : (before + len(content)) // 3 * 4]
            found |= {middle, middle.replace(b"+", b"-").replace(b"/", b"_")} if len(middle) > 8 else set()
    return found


def leaked(texts: Iterable[str], places: Iterable[tuple[str, bytes]]) -> set[tuple[str, str]]:
    """Find the texts that are in some place in any form; return each with the name of that place."""
    looked_for = {text: shapes(text) for text in texts}
    return {
        (text, name)
        for name, content in places
        for text, found in looked_for.items()
        if any(shape in content for shape in found)
    }


def contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Read every file below a folder, and every database as SQL too, with compressed parts unpacked."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        content, name = path.read_bytes(), str(path.relative_to(folder))
        yield name, f"{name}\n".encode() + content
        if content.startswith(b"SQLite format 3"):
            yield f"{name} as SQL", b"\n".join(_values(path))


def _values(path: Path) -> Iterator[bytes]:
    connection = sqlite3.connect(path)
    try:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                yield from (_unpacked(value) for value in row if value is not None)
    finally:
        connection.close()


def _unpacked(value: object) -> bytes:
    if not isinstance(value, bytes):
        return str(value).encode("utf-8")
    try:
        return zlib.decompress(value)
    except zlib.error:
        return value
