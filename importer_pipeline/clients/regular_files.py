"""Small files that people write, read whole: only what is a file, so that nothing waits and nothing is without end.

Stays out: what stands in them (see `yaml_source` and `secret`).
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
    """The file can't be read. The text says why in a few words, without its path."""


class FileTooLarge(FileUnreadable):
    """The file has more bytes than it may have."""


def read_regular_file(path: Path, *, max_bytes: int) -> bytes:
    """Return what stands in a file.

    Args:
        path: of the file, or of a link that leads to one.
        max_bytes: that it may have.

    Raises:
        FileUnreadable: it is not there, is none, may not be read, or (`FileTooLarge`) is too large.
    """
    try:
        # Looked at before it is opened: some devices do something when they are. And after: it may be another one by then.
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
    """Tell whether every user of this machine may read or change a file: it is open to them, and so is the way to it."""
    try:
        found = path.resolve(strict=True)
        is_open = found.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH)
        return bool(is_open) and all(folder.stat().st_mode & stat.S_IXOTH for folder in found.parents)
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
