"""References to secrets: an environment variable or a file, named in the clients file, read when the secret is used.

Stays out: the use of the secret (see `mailchimp.credentials` and `target`), and the rest of the clients file (see
`client`).
"""

import os
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationInfo, model_validator

from importer_pipeline.clients.file_problems import refusal
from importer_pipeline.clients.regular_files import FileTooLarge, FileUnreadable, others_may_read, read_regular_file
from importer_pipeline.errors import SecretMissing
from importer_pipeline.redaction import looks_like_a_secret, shown_path

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Stricter than elsewhere, because here people may write the secret itself by mistake.
_HEXADECIMAL = re.compile(r"[0-9a-fA-F]{16,}(-[a-z]+[0-9]+)?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_MAX_BYTES = 16_384
_MOUNTED = Path("/run")
_BURNT = "if a secret was written here, replace it with a new one"
_WAYS = "write {env: NAME_OF_A_VARIABLE} or {file: /path/to/the/secret}"


class Secret(BaseModel):
    """A reference to a secret: exactly one of `env` and `file`. It is read each time, so it can be rotated."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)

    env: str | None = None
    """The environment variable that holds the secret."""
    file: Path | None = None
    """The file that holds it; a relative path starts at the clients file's folder."""

    @property
    def source(self) -> str:
        """The variable or file, in words."""
        return f"the environment variable {self.env}" if self.env is not None else f"the file {shown_path(self.file)}"

    def read(self) -> SecretStr:
        """Read the secret, without the white space around it.

        Raises:
            SecretMissing: absent, unreadable, empty, or unfit for an HTTP header. Names the source only.
        """
        text = (self._from_env() if self.env is not None else self._from_file()).strip()
        if not text:
            raise SecretMissing(f"{self.source} is empty", remedy="put the secret into it")
        if _CONTROL.search(text) or not _in_latin_1(text):
            raise SecretMissing(
                f"{self.source} can't be sent in an HTTP header: it has several lines, or letters beyond Latin-1",
                remedy="put only the secret into it, on one line",
            )
        return SecretStr(text)

    @property
    def exposure(self) -> str:
        """Problem and remedy if every user of this machine may read the secret; else "".

        Secrets mounted by Docker and Kubernetes are ignored: all may read them, but nobody else is in the container.
        """
        if self.file is None or not others_may_read(self.file) or self.file.resolve().is_relative_to(_MOUNTED):
            return ""
        return f"{self.source} can be read or changed by every user of this machine: run chmod o-rwx on it"

    def _from_env(self) -> str:
        text = os.environ.get(self.env or "")
        if text is None:
            raise SecretMissing(f"{self.source} is not set", remedy="set it for every process that runs the importer")
        return text

    def _from_file(self) -> str:
        try:
            content = read_regular_file(self.file or Path(), max_bytes=_MAX_BYTES)
        except FileTooLarge:
            raise SecretMissing(
                f"{self.source} is too long for a secret", remedy="put only the secret into it"
            ) from None
        except FileUnreadable as error:
            remedy = "put the secret there, and let the importer's user read it"
            raise SecretMissing(f"{self.source} can't be read ({error})", remedy=remedy) from None
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError:
            remedy = "put only the secret into it, on one line"
            raise SecretMissing(f"{self.source} is not UTF-8 text", remedy=remedy) from None

    @model_validator(mode="before")
    @classmethod
    def _as_written(cls, written: Any, info: ValidationInfo) -> Any:
        # Checked before pydantic does: its own messages could show the value, which may be a key.
        if isinstance(written, Secret):
            return written
        if isinstance(written, str):
            raise refusal("a secret must not be in the clients file itself", f"{_WAYS}, and {_BURNT}")
        if not isinstance(written, dict):
            raise refusal("expected a reference to a secret", _WAYS)
        given = {key: value for key, value in written.items() if value is not None}
        if len(given) != 1 or not given.keys() <= {"env", "file"}:
            raise refusal("expected exactly one of env and file, and nothing else", _WAYS)
        [(key, value)] = given.items()
        if key == "env":
            return {"env": _checked_env(value)}
        return {"file": _checked_file(value, folder=(info.context or {}).get("folder"))}


def _checked_env(name: Any) -> str:
    if not isinstance(name, str) or not _ENV_NAME.fullmatch(name) or _is_secret(name):
        raise refusal(
            "env is not the name of an environment variable (letters, digits and _)",
            f"write its name, never the secret itself, and {_BURNT}",
        )
    return name


def _checked_file(name: Any, *, folder: Path | None) -> Path:
    if not isinstance(name, str | Path) or not str(name).strip() or _is_secret(str(name)):
        raise refusal("file is not a path", f"write the path of a file, never the secret itself, and {_BURNT}")
    path = Path(name).expanduser()
    return path if folder is None else folder / path


def _is_secret(text: str) -> bool:
    return "/" not in text and (_HEXADECIMAL.fullmatch(text) is not None or looks_like_a_secret(text))


def _in_latin_1(text: str) -> bool:
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True
