"""Makes texts from outside safe to show: an id, a key of a file, a path, the words of a foreign error. Pure.

Log lines, events and errors are read in terminals and split at line ends, so a hostile text could add lines, colour
them, or reverse their order. Only printable characters are shown as they are; all others are escaped as in Python, and
long texts are cut.

Stays out: the decision whether to show a text at all. Bodies, addresses, names and keys are never shown.
"""

import re
from collections.abc import Sequence

MAX_SHOWN = 63
"""Maximum length of a word: that of a client's name."""

MAX_SHOWN_OF_PATH = 400
"""Maximum length of a path. Its end says most, so it is cut at its start."""

_CUT = "..."
# A long run of letters and digits with both in it, like a key or token.
_LIKE_A_SECRET = re.compile(r"(?=[A-Za-z]*[0-9])(?=[0-9]*[A-Za-z])[0-9A-Za-z]{24,}")


def shown(text: str, *, max_characters: int = MAX_SHOWN) -> str:
    """Return the text in a form safe to show: on one line, without control characters, cut to a length.

    Args:
        text: a text from outside.
        max_characters: maximum length of the result, including the mark of a cut.
    """
    whole = _escaped(text[: max_characters + 1])
    if len(text) <= max_characters and len(whole) <= max_characters:
        return whole
    pieces = list[str]()
    room = max_characters - len(_CUT)
    for character in text:
        room -= len(piece := _escaped(character))
        if room < 0:
            break
        pieces.append(piece)
    return "".join(pieces) + _CUT


def shown_path(path: object) -> str:
    """Return a file's path in a form safe to show. Its bytes need not be valid text."""
    text = str(path)
    whole = _escaped(text[-MAX_SHOWN_OF_PATH:])
    return whole if len(whole) <= MAX_SHOWN_OF_PATH >= len(text) else _CUT + whole[len(_CUT) - MAX_SHOWN_OF_PATH :]


def looks_like_a_secret(text: str) -> bool:
    """Return whether a text looks like a key or token, so that it may be one in the wrong place."""
    return _LIKE_A_SECRET.search(text) is not None


def shown_key(key: str) -> str:
    """Return a file's key for a message; "..." if it is too long or looks like a secret."""
    return "..." if len(key) > MAX_SHOWN or looks_like_a_secret(key) else shown(key)


def quoted(text: str) -> str:
    """Return a text in quotes for a message; just "the text" if it is too long or looks like a secret."""
    return "the text" if len(text) > MAX_SHOWN or looks_like_a_secret(text) else f'"{shown(text)}"'


def shortened(texts: Sequence[str], limit: int, *, total: int | None = None, separator: str = ", ") -> str:
    """Return the first texts, and the number of the others: `a, b and 3 more`.

    Args:
        texts: safe to show.
        limit: most texts to list.
        total: number of texts in all, where not all of them are given.
        separator: a comma, or a line end for one text per line.
    """
    first = texts[:limit]
    others = (len(texts) if total is None else total) - len(first)
    before = separator if separator == "\n" else " "
    return separator.join(first) + (f"{before}and {others} more" if others > 0 else "")


def _escaped(text: str) -> str:
    # Printable in Python: no control character, no surrogate, no line separator, and nothing that reverses the order of
    # the text.
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
