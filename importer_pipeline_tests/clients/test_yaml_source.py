"""Reads YAML as people mean it: texts stay texts, duplicate keys are found, and errors have their line."""

import os
from pathlib import Path

import pytest

from importer_pipeline.clients.yaml_source import YamlUnreadable, read_yaml


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "clients.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("scalar", ["0123456701", "1_000", "12:30", "no", "on", "2026-11-24", "1e5", "0x1f", ".5"])
def test_a_scalar_stays_the_text_that_was_written(tmp_path: Path, scalar: str) -> None:
    assert read_yaml(written(tmp_path, f"{scalar}: {scalar}")).data == {scalar: scalar}


def test_nothing_and_null_are_none(tmp_path: Path) -> None:
    assert read_yaml(written(tmp_path, "a:\nb: ~\nc: null")).data == {"a": None, "b": None, "c": None}


@pytest.mark.parametrize(
    ("text", "where", "line"),
    [
        pytest.param("a: 1\nb:\n  c: 1\n  c: 2\n", ("b", "c"), 4, id="in a block"),
        pytest.param("a: {c: 1, c: 2}\n", ("a", "c"), 1, id="on one line"),
        pytest.param('a: 1\n"a": 2\n', ("a",), 2, id="once in quotes"),
    ],
)
def test_a_duplicate_key_is_a_problem(tmp_path: Path, text: str, where: tuple[str, ...], line: int) -> None:
    source = read_yaml(written(tmp_path, text))
    assert [problem.where for problem in source.problems] == [where]
    assert source.line(where) == line


def test_what_is_merged_in_may_be_overridden(tmp_path: Path) -> None:
    text = "usual: &usual {url: 1, key: 2}\none: &one\n  <<: *usual\n  url: 3\ntwo: {<<: *one, key: 4}\n"
    source = read_yaml(written(tmp_path, text))
    assert source.problems == ()
    assert source.data["two"] == {"url": "3", "key": "4"}


def test_an_absent_place_has_the_line_of_the_nearest_key_above(tmp_path: Path) -> None:
    source = read_yaml(written(tmp_path, "a:\n  b:\n    c: 1\n"))
    assert [source.line(where) for where in [("a", "b", "x"), ("a", "x"), ("x",), ()]] == [2, 1, None, None]


@pytest.mark.parametrize(
    ("content", "line", "what"),
    [
        pytest.param("a: 1\nb: [sesame\n", 2, "not YAML", id="a list that does not end"),
        pytest.param("a: 1\n b: sesame\n", 2, "column", id="indentation"),
        pytest.param("a: 1\n\tb: sesame\n", 2, "a tab in the indentation", id="a tab"),
        pytest.param("a: {sesame}-{id}\n", 1, "begins with a brace", id="a template without quotes"),
        pytest.param("a: {b: {sesame}-{id}}\n", 1, "begins with a brace", id="a template in braces"),
        pytest.param("a: {b: 1\nc: {d: 2}\ne: sesame\n", 1, "a brace or bracket is not", id="a brace that is open"),
        pytest.param('a: "sesame\nb: 1\n', 1, "a quote is not closed", id="a quote that is open"),
        pytest.param("a: team: sesame\n", 1, "contains a colon", id="a colon in a value"),
        pytest.param("a: @sesame\n", 1, "begins with a character", id="an at sign"),
        pytest.param("a: *sesame\n", 1, "alias", id="an unknown alias"),
        pytest.param("a: !sesame 1\n", 1, "tag", id="a tag"),
        pytest.param("a: 1\n---\nb: sesame\n", 2, "document", id="two documents"),
        pytest.param("a: 1\n? [sesame]\n: 1\n", 2, "unhashable", id="a list for a key"),
        pytest.param("a: !!int sesame\n", None, "tags", id="a tag that does not fit"),
        pytest.param("a: \x01sesame\n", None, "characters", id="a control character"),
        pytest.param("a: 1\nb: ses\xe4me\n".encode("latin-1"), 2, "UTF-8", id="Latin-1"),
    ],
)
def test_what_is_no_yaml_is_placed_but_not_quoted(
    tmp_path: Path, content: str | bytes, line: int | None, what: str
) -> None:
    with pytest.raises(YamlUnreadable) as caught:
        read_yaml(written(tmp_path, content))
    assert caught.value.line == line
    assert what in caught.value.problem.what
    assert "sesame" not in caught.value.problem.what


def test_a_file_that_can_not_be_opened_says_why(tmp_path: Path) -> None:
    with pytest.raises(YamlUnreadable, match="it is a folder"):
        read_yaml(tmp_path)


def test_a_file_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """The remedy is shown."""
    path = written(tmp_path, "a: 1\n")
    os.truncate(path, 10**12)
    with pytest.raises(YamlUnreadable, match="more than 10 MB") as caught:
        read_yaml(path)
    assert "files in one folder" in caught.value.problem.remedy


@pytest.mark.parametrize("content", ["", "# nothing\n", "---\n"], ids=["no byte", "a comment", "an empty document"])
def test_an_empty_file_holds_nothing(tmp_path: Path, content: str) -> None:
    assert read_yaml(written(tmp_path, content)).data is None
