"""Targets in Python: code of one's own that sends records, named by its entry point in the clients file.

    class MyTarget:
        def __init__(self, options: Mapping[str, str], secrets: Mapping[str, str]) -> None: ...
        def send(self, records: Sequence[AnyRecord]) -> Receipt: ...

Batching, retries, isolation and limits are the importer's, as for every target. See `docs/targets.md`.
"""

import logging
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any, Protocol, cast

from pydantic import SecretStr

from importer_pipeline.errors import BrokenAnswer, ImporterError, TargetMisplaced, Unavailable
from importer_pipeline.exhaustion import exhaustion_of
from importer_pipeline.records.contacts import AnyRecord
from importer_pipeline.records.receipt import Receipt, RefusedRecord
from importer_pipeline.target.bodies import unique_records
from importer_pipeline.target.reasons import reason_of

_LOG = logging.getLogger(__name__)


class PythonTarget(Protocol):
    """What code of one's own must have. It may also have `check()` and `close()`, without arguments."""

    def send(self, records: Sequence[AnyRecord]) -> Receipt:
        """Upsert records by `record.id`, each id once, with what `record.content` holds.

        Returns:
            how many were accepted, and which were refused, by `id` and reason. If it counts fewer than were sent and
            names none, the refused ones are found by sending parts.

        Raises:
            Exception: nothing is known about any record. It is called again, after a pause; then parts are sent.
            ImporterError: the same with a meaning: see `importer_pipeline/errors.py`.
        """
        ...


class PythonTargetClient:
    """One client's account at a target in Python.

    Args:
        entry_point: the class or function that makes it, as `package.module:name`; called at the first request.
        options: its options.
        secrets: its secrets.
    """

    def __init__(self, entry_point: str, options: Mapping[str, str], secrets: Mapping[str, SecretStr]) -> None:
        self._entry_point = entry_point
        self._options = dict(options)
        self._secrets = {name: secret.get_secret_value() for name, secret in secrets.items()}
        self._lock = Lock()
        self._made: PythonTarget | None = None

    def __repr__(self) -> str:
        return f"PythonTargetClient({self._entry_point!r})"

    @property
    def host(self) -> str:
        """Its entry point: only its own code knows where it sends records."""
        return self._entry_point

    def post(self, records: Sequence[AnyRecord]) -> Receipt:
        """Send records; of several with the same id, the last.

        Raises:
            ImporterError: there is no receipt; as `TargetClient.post`.
        """
        unique = unique_records(records)
        if not unique:
            return Receipt(sent=0, accepted=0)
        target = self._target()
        try:
            receipt = target.send(unique)
        except Exception as error:
            raise self._error(error) from None
        try:
            return _checked(receipt, unique)
        except (AttributeError, TypeError):
            raise _no_receipt(len(unique)) from None

    def probe(self) -> Receipt:
        """Call its `check`, if it has one.

        Raises:
            ImporterError: it can't be made, or its check fails.
        """
        check = getattr(self._target(), "check", None)
        try:
            if check is not None:
                check()
        except Exception as error:
            raise self._error(error) from None
        return Receipt(sent=0, accepted=0)

    def close(self) -> None:
        """Call its `close`, if it has one and was made. An error there is logged: all that counts has a receipt."""
        close = getattr(self._made, "close", None)
        try:
            if close is not None:
                close()
        except Exception as error:
            _LOG.warning("%s", self._error(error))

    def _target(self) -> PythonTarget:
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def _make(self) -> PythonTarget:
        module, _, name = self._entry_point.partition(":")
        try:
            found: Any = import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError) as error:
            raise TargetMisplaced(
                f"there is no {self._entry_point} to import ({type(error).__name__})",
                remedy="check target.python, and that the package is installed here",
            ) from None
        except Exception as error:
            raise self._error(error) from None
        try:
            made = found(self._options, self._secrets)
        except Exception as error:
            raise self._error(error) from None
        return cast(PythonTarget, made)

    def _error(self, error: Exception) -> ImporterError:
        """Return our own error as it is; else one with its type and place, not its text, which may hold data."""
        if isinstance(error, ImporterError):
            return error
        if (exhausted := exhaustion_of(error)) is not None:
            return exhausted
        return Unavailable(
            f"the target {self._entry_point} failed: {type(error).__name__} at {_place(error)}",
            remedy="correct what fails at that line; if it is a server that is down, run it again when it is back",
        )


def _place(error: Exception) -> str:
    """Return the line of the target's code at which an error was raised; of one that begins there, the call itself."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    path, line = (
        (error.filename or "", error.lineno) if isinstance(error, SyntaxError) else (frame.filename, frame.lineno)
    )
    return "its call" if path == __file__ else f"{Path(path).name}:{line}"


def _no_receipt(sent: int) -> BrokenAnswer:
    return BrokenAnswer(f"expected a Receipt with 0 to {sent} accepted records from the target, got something else")


def _checked(receipt: Any, records: Sequence[AnyRecord]) -> Receipt:
    sent = len(records)
    by_id = {record.id: record for record in records}
    if not isinstance(receipt, Receipt) or not 0 <= receipt.accepted <= sent:
        raise _no_receipt(sent)
    if any(it.id not in by_id for it in receipt.refused) or not receipt.again <= by_id.keys():
        raise BrokenAnswer("the target's receipt names a record that was not sent")
    refused = {it.id: reason_of(it.reason, [by_id[it.id].content]) for it in receipt.refused}
    return Receipt(
        sent=sent,
        accepted=receipt.accepted,
        refused=tuple(RefusedRecord(id=record_id, reason=reason) for record_id, reason in refused.items()),
        again=receipt.again,
        pause_seconds=receipt.pause_seconds,
    )
