"""Texts from outside are shown on one line, without control characters, and not too long."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from importer_pipeline.redaction import MAX_SHOWN, MAX_SHOWN_OF_PATH, shortened, shown, shown_path

ANY_TEXT = st.text(st.characters(), max_size=MAX_SHOWN * 2)
"""Every character there is, surrogates and control characters among them."""

NEVER = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Categories of characters that end lines, steer a terminal, turn the order of a text, or can't be written at all."""


def is_harmless(text: str) -> bool:
    return not {unicodedata.category(character) for character in text} & NEVER and bool(text.encode("utf-8") or True)


@given(ANY_TEXT, st.integers(min_value=8, max_value=200))
def test_what_is_shown_is_harmless_and_no_longer_than_allowed(text: str, most: int) -> None:
    found = shown(text, max_characters=most)
    assert is_harmless(found)
    assert len(found) <= most


@given(st.text(st.characters(), max_size=MAX_SHOWN_OF_PATH * 2))
def test_a_path_is_shown_harmless_and_not_endless(text: str) -> None:
    assert is_harmless(shown_path(text))
    assert len(shown_path(text)) <= MAX_SHOWN_OF_PATH


@given(st.text(st.characters(categories=("L", "N", "P", "S")), max_size=MAX_SHOWN))
def test_plain_text_is_shown_as_it_is(text: str) -> None:
    assert shown(text) == text
    assert shown_path(text) == text


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("a\nb\r\tc", r"a\nb\r\tc", id="ends of lines"),
        pytest.param("\x1b[31mred", r"\x1b[31mred", id="a terminal's escape code"),
        pytest.param("a\u2028b\u2029c\x85d", r"a\u2028b\u2029c\x85d", id="other ends of lines"),
        pytest.param("abc\u202edef\u2066", r"abc\u202edef\u2066", id="what turns the order round"),
        pytest.param("a\ud800b", r"a\ud800b", id="half a character"),
        pytest.param("a\x00b\u200bc", r"a\x00b\u200bc", id="what is not seen"),
        pytest.param("x" * 63, "x" * 63, id="as long as allowed"),
        pytest.param("x" * 64, "x" * 60 + "...", id="longer than allowed"),
        pytest.param("x" * 58 + "\n" * 5, "x" * 58 + r"\n" + "...", id="cut between characters"),
        pytest.param("Zoë 山田 🎉", "Zoë 山田 🎉", id="what all the world writes"),
    ],
)
def test_what_is_shown_of_a_text(text: str, found: str) -> None:
    assert shown(text) == found


def test_of_a_long_path_its_end_is_shown() -> None:
    found = shown_path("/folder" * 100 + "/clients.yaml")
    assert found.startswith("...")
    assert found.endswith("/clients.yaml")
    assert len(found) == MAX_SHOWN_OF_PATH


@pytest.mark.parametrize(
    ("texts", "total", "separator", "found"),
    [
        pytest.param(["a", "b"], None, ", ", "a, b", id="all"),
        pytest.param(["a", "b", "c", "d"], None, ", ", "a, b and 2 more", id="some"),
        pytest.param(["a", "b"], 9, ", ", "a, b and 7 more", id="not all given"),
        pytest.param(["a", "b", "c"], None, "\n", "a\nb\nand 1 more", id="lines"),
    ],
)
def test_long_lists_are_shortened(texts: list[str], total: int | None, separator: str, found: str) -> None:
    assert shortened(texts, 2, total=total, separator=separator) == found
