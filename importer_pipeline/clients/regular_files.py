"""Reads small files completely. Only regular files are read, so that a read neither blocks nor goes on forever.

Stays out: their content (see `yaml_source` and `secret`).
"""

import errno
import os
import stat
from pathlib import Path

_KINDS = {
    stat.S_IFDIR: "it is a folder",
    stat.S_IFIFO: "it is a named pipe, not a file",
    stat.S_IFSOCK: "it is a socket, not a file",
    stat.S_IFCHR: "it is a device, not a file",
    stat.S_IFBLK: "it is a device, not a file",
}


class FileUnreadable(Exception):
    """The file can't be read. The text gives the reason, without the path."""


class FileTooLarge(FileUnreadable):
    """The file is larger than allowed."""


def read_regular_file(path: Path, *, max_bytes: int) -> bytes:
    """Return the content of a file.

    Args:
        path: of the file, or of a link to one.
        max_bytes: its maximum size.

    Raises:
        FileUnreadable: it does not exist, is not a file, may not be read, or (`FileTooLarge`) is too large.
    """
    try:
        # Checked before it is opened, as opening some devices has effects; and after, as it may be another by then.
        _check(os.stat(path))
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), "rb") as file:
            _check(os.fstat(file.fileno()))
            content = file.read(max_bytes + 1)
    except (OSError, ValueError) as error:
        raise FileUnreadable(_reason(path, error)) from None
    if len(content) > max_bytes:
        raise FileTooLarge(f"it has more than {max_bytes} bytes")
    return content


def others_may_read(path: Path) -> bool:
    """Return whether every user of this machine may read or change a file, and reach it."""
    try:
        if not path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
            return False
        return all(folder.stat().st_mode & stat.S_IXOTH for folder in path.resolve(strict=True).parents)
    except (OSError, ValueError, RuntimeError):
        return False


def _check(status: os.stat_result) -> None:
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG:
        raise OSError(errno.EINVAL, _KINDS.get(kind, "it is not a file"))


def _reason(path: Path, error: OSError | ValueError) -> str:
    if isinstance(error, OSError) and error.errno == errno.ELOOP:
        return "it is a link that leads to itself"
    if isinstance(error, FileNotFoundError) and os.path.islink(path):
        return "it is a link that leads nowhere"
    return (error.strerror if isinstance(error, OSError) else None) or "it can't be opened"
