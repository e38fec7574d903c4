"""Secrets: where they may be kept, how they are read, and that no message shows one."""

import os
import shutil
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from importer_pipeline.clients.secret import Secret
from importer_pipeline.errors import SecretMissing

KEY = "0123456789abcdef0123456789abcdef-us6"


@pytest.mark.parametrize(
    "content",
    ["abc", "abc\n", " abc \r\n", "\ufeffabc"],
    ids=["bare", "with a line's end", "with blanks", "with a BOM"],
)
def test_a_file_is_read_without_what_surrounds_the_secret(tmp_path: Path, content: str) -> None:
    path = tmp_path / "key"
    path.write_text(content, encoding="utf-8", newline="")
    assert Secret(file=path).read().get_secret_value() == "abc"


def test_an_environment_variable_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_KEY", "abc \n")
    assert Secret(env="ACME_KEY").read().get_secret_value() == "abc"


def test_a_secret_that_was_rotated_is_seen_by_the_next_reading(tmp_path: Path) -> None:
    path = tmp_path / "key"
    secret = Secret(file=path)
    seen: list[str] = []
    for key in ("old", "new"):
        path.write_text(key)
        seen.append(secret.read().get_secret_value())
    assert seen == ["old", "new"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(b" \n", "is empty", id="blank"),
        pytest.param(b"sesame\nopen", "several lines", id="two lines"),
        pytest.param(b"sesame\x00", "several lines", id="a control character"),
        pytest.param("sesame\u2013open".encode(), "Latin-1", id="beyond Latin-1"),
        pytest.param(b"sesame\xff\xfe", "not UTF-8 text", id="not UTF-8"),
        pytest.param(b"sesame" * 10_000, "too long", id="far too long"),
    ],
)
def test_a_file_without_a_usable_secret_is_named_but_not_quoted(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(SecretMissing, match=problem) as caught:
        Secret(file=path).read()
    assert str(path) in str(caught.value)
    assert "sesame" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_file_that_is_not_there_or_is_a_folder_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(SecretMissing, match="can't be read") as caught:
            Secret(file=path).read()
        assert str(path) in str(caught.value)


def test_an_unset_or_empty_environment_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACME_KEY", raising=False)
    with pytest.raises(SecretMissing, match="ACME_KEY is not set"):
        Secret(env="ACME_KEY").read()
    monkeypatch.setenv("ACME_KEY", " ")
    with pytest.raises(SecretMissing, match="ACME_KEY is empty"):
        Secret(env="ACME_KEY").read()


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        pytest.param(KEY, "must not be in the clients file", id="the secret itself"),
        pytest.param({"env": KEY}, "not the name of an environment variable", id="the secret as a variable's name"),
        pytest.param(
            {"env": "abcdef0123456789"}, "not the name of an environment variable", id="a short key as a name"
        ),
        pytest.param({"file": KEY}, "file is not a path", id="the secret as a path"),
        pytest.param({KEY: None}, "exactly one of env and file", id="the secret as a key"),
        pytest.param({"env": "A", "file": "b"}, "exactly one of env and file", id="both"),
        pytest.param({}, "exactly one of env and file", id="neither"),
        pytest.param({"env": "A", "vault": KEY}, "exactly one of env and file", id="an unknown key"),
        pytest.param({"env": "A B"}, "not the name of an environment variable", id="a name with a space"),
        pytest.param({"env": [KEY]}, "not the name of an environment variable", id="a list for a name"),
        pytest.param({"file": " "}, "file is not a path", id="an empty path"),
        pytest.param([KEY], "expected a reference to a secret", id="a list"),
        pytest.param(17, "expected a reference to a secret", id="a number"),
    ],
)
def test_what_points_to_no_secret_is_refused_without_being_shown(written: Any, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem) as caught:
        Secret.model_validate(written)
    assert KEY[:16] not in str(caught.value)
    assert "{env:" in str(caught.value) or "never the secret itself" in str(caught.value)


def test_a_relative_path_starts_at_the_clients_files_folder(tmp_path: Path) -> None:
    secret = Secret.model_validate({"file": "keys/acme"}, context={"folder": tmp_path})
    absolute = Secret.model_validate({"file": "/run/secrets/acme"}, context={"folder": tmp_path})
    assert (secret.file, absolute.file) == (tmp_path / "keys/acme", Path("/run/secrets/acme"))


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "key")
    with pytest.raises(SecretMissing, match="it is a named pipe, not a file"):
        Secret(file=tmp_path / "key").read()


def test_a_path_that_no_file_can_have_is_shown_escaped() -> None:
    with pytest.raises(SecretMissing) as caught:
        Secret(file=Path("a\0\x1b[31m\nb")).read()
    assert str(caught.value).startswith(r"the file a\x00\x1b[31m\nb can't be read (it can't be opened)")


@pytest.mark.parametrize(
    ("mode", "way", "exposed"),
    [(0o600, 0o755, False), (0o640, 0o755, False), (0o644, 0o755, True), (0o602, 0o711, True), (0o644, 0o700, False)],
)
def test_a_file_that_others_may_read_is_warned_of(mode: int, way: int, exposed: bool) -> None:
    base = Path(tempfile.mkdtemp())  # Pytest's own folders are closed to others.
    try:
        base.chmod(0o755)
        folder = base / "keys"
        folder.mkdir()
        folder.chmod(way)
        path = folder / "key"
        path.write_text(KEY)
        path.chmod(mode)
        found = Secret(file=path).exposure
    finally:
        shutil.rmtree(base)
    assert bool(found) is exposed
    assert not exposed or found.endswith(": run chmod o-rwx on it")


def test_what_is_mounted_below_run_is_not_warned_of() -> None:
    with tempfile.NamedTemporaryFile(dir="/run") if os.access("/run", os.W_OK) else nullcontext() as file:
        if file is not None:
            os.chmod(file.name, 0o644)
            assert Secret(file=Path(file.name)).exposure == ""
    assert Secret(env="ANY").exposure == ""
