"""Whether a folder is out of the reach of other users: nobody else can put files in it, take them away, or swap it for another.

Stays out: what is kept there (see `file_locks`).
"""

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

_ROOT = 0


def reach_of_others(folder: Path) -> str:
    """Return why another user could change what the folder holds or what its path leads to; "" where none but root could.

    Args:
        folder: is there.

    Raises:
        OSError: it is not, or may not be looked at.
    """
    for path in _ways_to(folder):
        status = path.lstat()
        if status.st_uid not in (_ROOT, os.geteuid()):
            return f"{path} belongs to another user"
        if stat.S_ISLNK(status.st_mode) or not _others_write(status):
            continue
        # In a sticky folder, such as the one for temporary files, each user can remove and rename only what is their own.
        if path == folder or not status.st_mode & stat.S_ISVTX:
            return f"other users can write to {path}"
    return ""


def _ways_to(folder: Path) -> Iterator[Path]:
    """Yield the folder, and all that its path leads through, links and what they lead to."""
    written, real = Path(os.path.abspath(folder)), Path(os.path.realpath(folder))
    yield folder
    yield from dict.fromkeys((written, real, *written.parents, *real.parents))


def _others_write(status: os.stat_result) -> bool:
    if status.st_mode & stat.S_IWOTH:
        return True
    return bool(status.st_mode & stat.S_IWGRP) and not _is_private(status.st_gid)


def _is_private(group: int) -> bool:
    """Return whether nobody but this user and root is in a group: on many systems each user has one of that kind."""
    if group == _ROOT:
        return True
    try:
        user, found = pwd.getpwuid(os.geteuid()), grp.getgrgid(group)
    except KeyError:
        return False
    return found.gr_gid == user.pw_gid and found.gr_name == user.pw_name and set(found.gr_mem) <= {user.pw_name}
