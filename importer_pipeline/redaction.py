"""What may be shown of a text that comes from outside: an id, a key of a file, a path, the words of a foreign error. Pure.

A log line, an event and an error's text are read in terminals and split at line ends, so whoever chooses a text could write
lines of their own into them, colour them, or turn their order round. Only characters that print as themselves are shown; all
others appear as Python would write them, and what is long is cut.

Stays out: whether a text may be shown at all. Bodies, addresses, names and keys never are.
"""

import re

MAX_SHOWN = 63
"""Characters of a word: as many as a client's name may have."""

MAX_SHOWN_OF_PATH = 400
"""Characters of a file's path. The most that matters in it stands at its end, so it is cut at its beginning."""

_CUT = "..."
# A long run of letters and digits that has both, as keys and tokens have.
_LIKE_A_SECRET = re.compile(r"(?=[A-Za-z]*[0-9])(?=[0-9]*[A-Za-z])[0-9A-Za-z]{24,}")


def shown(text: str, *, max_characters: int = MAX_SHOWN) -> str:
    """Return the text as it may be shown: on one line, without control characters, no longer than that.

    Args:
        text: whatever came from outside.
        max_characters: of what is returned, the mark of a cut included.
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
    """Return a file's path as it may be shown. Its bytes need not be text at all."""
    text = str(path)
    whole = _escaped(text[-MAX_SHOWN_OF_PATH:])
    return whole if len(whole) <= MAX_SHOWN_OF_PATH >= len(text) else _CUT + whole[len(_CUT) - MAX_SHOWN_OF_PATH :]


def looks_like_a_secret(text: str) -> bool:
    """Return whether a text is built like a key or token, so that it may be one in the wrong place."""
    return _LIKE_A_SECRET.search(text) is not None


def shown_key(key: str) -> str:
    """Return a key as a message shows it: not if it is overlong or built like a secret."""
    return "..." if len(key) > MAX_SHOWN or looks_like_a_secret(key) else shown(key)


def quoted(text: str) -> str:
    """Return a text that can be no secret by its place, as a message shows it: quoted, but for one built like a secret."""
    return "the text" if len(text) > MAX_SHOWN or looks_like_a_secret(text) else f'"{shown(text)}"'


def _escaped(text: str) -> str:
    # What is printable to Python is no control character, no surrogate, no separator of lines and nothing that turns the order
    # of what follows, but for the space.
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
