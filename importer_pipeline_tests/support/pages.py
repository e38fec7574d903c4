"""What the pages of the documentation tell people to type."""

import re
from collections.abc import Iterator
from pathlib import Path


def typed_lines(page: Path) -> Iterator[str]:
    """Yield the lines of a page's blocks that are for a shell: of no language, or of bash."""
    text = page.read_text(encoding="utf-8")
    for language, block in re.findall(r"^ *```(\w*)\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL):
        if language in ("", "bash"):
            yield from (line.strip() for line in block.splitlines())


def without_blocks(page: Path) -> str:
    """Return the text of a page without its blocks."""
    return re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
