"""Checks that other users can't change a folder: add or remove files, or replace it by another.

Stays out: the files in it (see `files`).
"""

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

_ROOT = 0


def reach_of_others(folder: Path) -> str:
    """Return how another user could change the folder's content or what its path leads to; "" if only root could.

    Args:
        folder: an existing folder.

    Raises:
        OSError: it does not exist, or can't be examined.
    """
    for path in _ways_to(folder):
        status = path.lstat()
        if status.st_uid not in (_ROOT, os.geteuid()):
            return f"{path} belongs to another user"
        if stat.S_ISLNK(status.st_mode) or not _others_write(status):
            continue
        # In a sticky folder, such as the one for temporary files, users can remove and rename only what they own.
        if path == folder or not status.st_mode & stat.S_ISVTX:
            return f"other users can write to {path}"
    return ""


def _ways_to(folder: Path) -> Iterator[Path]:
    """Yield the folder and all parts of its path, both links and their targets."""
    written, real = Path(os.path.abspath(folder)), Path(os.path.realpath(folder))
    yield folder
    yield from dict.fromkeys((written, real, *written.parents, *real.parents))


def _others_write(status: os.stat_result) -> bool:
    if status.st_mode & stat.S_IWOTH:
        return True
    return bool(status.st_mode & stat.S_IWGRP) and not _is_private(status.st_gid)


def _is_private(group: int) -> bool:
    """Return whether only this user and root are in a group: on many systems each user has such a group."""
    if group == _ROOT:
        return True
    try:
        user, found = pwd.getpwuid(os.geteuid()), grp.getgrgid(group)
    except KeyError:
        return False
    return found.gr_gid == user.pw_gid and found.gr_name == user.pw_name and set(found.gr_mem) <= {user.pw_name}
