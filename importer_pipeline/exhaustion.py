"""Detects that this machine is out of a resource: by the errors of any library, with a remedy for each.

No client, window or contact is at fault, so nothing is retried or quarantined: the run stops, and the next one resumes.
"""

import errno
import sqlite3
from collections.abc import Iterator, Mapping

from importer_pipeline.errors import MachineExhausted

_DEEPEST = 20
_NEXT_RUN = "the next run resumes where this one stopped"

_FILES = (
    "this process can't open more files or connections",
    f"raise its limit (`ulimit -n 4096`, or LimitNOFILE of its unit); {_NEXT_RUN}",
)
_THREADS = (
    "this process can't start more threads",
    "raise the limit of processes (`ulimit -u`, TasksMax of its unit, pids_limit of its container) or of memory; "
    f"{_NEXT_RUN}",
)
_MEMORY = (
    "this process is out of memory",
    f"give it more, or run fewer at once (max_concurrent_runs in dagster.yaml); {_NEXT_RUN}",
)
_DISK = (
    "the disk is full or fails, or a file has reached its size limit",
    f"free space on the disk of DAGSTER_HOME or of the database (the job prune_history deletes old runs); {_NEXT_RUN}",
)
_READ_ONLY = (
    "the disk of DAGSTER_HOME or of the database can't be written to",
    f"let this user write there, and check whether the disk was mounted read-only after an error; {_NEXT_RUN}",
)
_NO_DATABASE = (
    "a database below DAGSTER_HOME can't be opened",
    "let this user write there, free space on its disk, and raise the limit of open files (`ulimit -n 4096`); "
    f"{_NEXT_RUN}",
)
_SESSIONS = (
    "the database accepts no more connections",
    f"raise its max_connections, or run fewer at once; {_NEXT_RUN}",
)

_BY_ERRNO: Mapping[int, tuple[str, str]] = {
    errno.EMFILE: _FILES,
    errno.ENFILE: _FILES,
    errno.ENOMEM: _MEMORY,
    errno.ENOSPC: _DISK,
    errno.EDQUOT: _DISK,
    errno.EFBIG: _DISK,
    errno.EROFS: _READ_ONLY,
}
_BY_SQLITE: Mapping[int, tuple[str, str]] = {
    sqlite3.SQLITE_FULL: _DISK,
    sqlite3.SQLITE_IOERR: _DISK,
    sqlite3.SQLITE_CANTOPEN: _NO_DATABASE,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_NOMEM: _MEMORY,
}
_BY_POSTGRES: Mapping[str, tuple[str, str]] = {
    "53100": _DISK,
    "53200": _MEMORY,
    "53300": _SESSIONS,
    "25006": _READ_ONLY,
}

_NO_SESSION = ("too many clients already", "too many connections for ", "connection slots are reserved")
"""Postgres's words for its limits: the driver leaves out the code of an error that refuses a connection."""


def exhaustion_of(error: BaseException) -> MachineExhausted | None:
    """Return the error to stop the run with, if a missing resource caused this one; else None."""
    for cause in _causes(error):
        if isinstance(cause, MachineExhausted):
            return cause
        if meaning := _meaning(cause):
            return MachineExhausted(meaning[0], remedy=meaning[1])
    return None


def _meaning(error: BaseException) -> tuple[str, str] | None:
    if isinstance(error, MemoryError) or (isinstance(error, ImportError) and "failed to map segment" in str(error)):
        return _MEMORY
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return _THREADS
    if isinstance(error, OSError) and error.errno is not None:
        return _BY_ERRNO.get(error.errno)
    if isinstance(error, sqlite3.Error):
        # The low byte is the kind; the higher ones are the operation.
        return _BY_SQLITE.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
    code = getattr(error, "pgcode", "")
    if code is None and any(words in str(error) for words in _NO_SESSION):
        return _SESSIONS
    return _BY_POSTGRES.get(str(code))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and its causes, including those that libraries keep as an argument or as the reason."""
    seen = set[int]()
    ahead: list[object] = [error]
    while ahead and len(seen) < _DEEPEST:
        found = ahead.pop(0)
        if not isinstance(found, BaseException) or id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        ahead += [found.__cause__, found.__context__, getattr(found, "reason", None), getattr(found, "orig", None)]
        ahead += found.args[:2]
