"""The declared clients: located by the environment, loaded from a file or a folder of files, selected for a run.

Stays out: the fields of a client (see `client`), and reading one file (see `clients_file`).
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from importer_pipeline.clients.client import (
    Audience,
    Client,
    MailchimpSettings,
    RecordSpec,
    fingerprint,
)
from importer_pipeline.clients.clients_file import SMALLEST_FILE, ClientsFile, read_clients_file, read_named_targets
from importer_pipeline.clients.cross_checks import Register
from importer_pipeline.clients.secret import Secret
from importer_pipeline.clients.shards import Shard
from importer_pipeline.clients.target_settings import TargetSettings
from importer_pipeline.errors import ClientsFileInvalid, SelectionUnknown
from importer_pipeline.redaction import shortened, shown, shown_path

__all__ = [
    "PATH_VARIABLE",
    "Audience",
    "Client",
    "Clients",
    "MailchimpSettings",
    "RecordSpec",
    "Secret",
    "TargetSettings",
    "clients_from_environment",
    "default_clients_path",
    "fingerprint",
    "load_clients",
]

PATH_VARIABLE = "IMPORTER_CLIENTS"
"""The environment variable that names the clients file, or a folder of such files."""

_DEFAULT_PATH = Path("clients.yaml")
_SUFFIXES = {".yaml", ".yml"}
_MAX_LISTED = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients:
    """The enabled clients.

    Attributes:
        clients: in the order of the files, and within a file in its order.
        problems: why others were not loaded, a line each, with the remedy.
    """

    clients: tuple[Client, ...]
    problems: tuple[str, ...]

    def select(self, clients: Sequence[str], audiences: Sequence[str]) -> list[tuple[Client, Audience]]:
        """Return the audiences that a run's config selects, each once, in the order of the files.

        Args:
            clients: names of clients whose audiences are all selected.
            audiences: single ones, as "client/audience". Nothing in either: all audiences of all clients.

        Raises:
            SelectionUnknown: a name that is not declared, or not enabled.
        """
        every = [(client, audience) for client in self.clients for audience in client.audiences]
        if not clients and not audiences:
            return every
        _check_known(clients, [client.name for client in self.clients], kind="client")
        _check_known(audiences, [_label(client, audience) for client, audience in every], kind="audience")
        chosen_clients, chosen = set(clients), set(audiences)
        return [
            (client, audience)
            for client, audience in every
            if client.name in chosen_clients or _label(client, audience) in chosen
        ]

    def of_shard(self, shard: Shard) -> "Clients":
        """Return the clients of a shard. All shards report all problems: it is unknown which shard they would be in."""
        return replace(self, clients=tuple(client for client in self.clients if shard.takes(client.account)))

    def max_connections(self) -> dict[str, int]:
        """Return the limit of simultaneous requests per Mailchimp account: the lowest of its clients."""
        most: dict[str, int] = {}
        for client in self.clients:
            declared = client.mailchimp.max_connections
            most[client.account] = min(declared, most.get(client.account, declared))
        return most


def load_clients(path: Path) -> Clients:
    """Load a clients file, or all `*.yaml` and `*.yml` of a folder, sorted by name; other files are ignored.

    In a folder, a file with a problem is left out and the others are loaded; a client in conflict with one of an
    earlier file is left out. `problems` has both, and entries with such a name that are not files.

    Raises:
        ClientsFileInvalid: the path does not exist, or is a single file with problems; the message has them all.
    """
    if path.is_dir():
        return _load_folder(path)
    if not _exists(path):
        raise ClientsFileInvalid(
            f"there is no clients file at {shown_path(path)}",
            remedy=f"create one, or set {PATH_VARIABLE} to the file or to a folder of such files",
        )
    file = read_clients_file(path)
    if file.problems:
        count = f"{len(file.problems)} problems" if len(file.problems) > 1 else "one problem"
        lines = "\n".join(file.problems)
        raise ClientsFileInvalid(f"the clients file {shown_path(path)} has {count}\n{lines}", problems=file.problems)
    return Clients(clients=_enabled(file.clients), problems=())


def default_clients_path() -> Path:
    """Return the path in `IMPORTER_CLIENTS`; without it, `clients.yaml` in the working folder."""
    return Path(os.environ.get(PATH_VARIABLE) or _DEFAULT_PATH)


def clients_from_environment() -> Clients:
    """Load the clients at the default path. If nothing is declared yet: none, and a problem that says how to add one.

    Raises:
        ClientsFileInvalid: as `load_clients`; a path in `IMPORTER_CLIENTS` that does not exist is an error, too.
    """
    path = default_clients_path()
    if not os.environ.get(PATH_VARIABLE) and not _exists(path):
        where = shown_path(path.absolute())
        how = f"no clients are declared: create {where}, or set {PATH_VARIABLE} to a file. Start from this:"
        return Clients(clients=(), problems=(f"{how}\n{SMALLEST_FILE}",))
    return load_clients(path)


def _load_folder(folder: Path) -> Clients:
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES)
    except OSError as error:
        reason = error.strerror or "it can't be opened"
        raise ClientsFileInvalid(
            f"the folder {shown_path(folder)} can't be read ({reason})", remedy="make it readable for this user"
        ) from None
    if not paths:
        return Clients(clients=(), problems=(f"{shown_path(folder)}: no *.yaml or *.yml in this folder: create one",))
    register = Register()
    clients: list[Client] = []
    problems: list[str] = []
    targets = read_named_targets(paths)
    for path in paths:
        file = read_clients_file(path, targets)
        problems.extend(file.problems)
        if not file.problems:
            _take(file, register=register, clients=clients, problems=problems)
    return Clients(clients=_enabled(clients), problems=tuple(problems))


def _take(file: ClientsFile, *, register: Register, clients: list[Client], problems: list[str]) -> None:
    for client in file.clients:
        taken = register.add_name(client.name, file=str(file.path))
        found = [taken] if taken is not None else register.add(client) if client.enabled else []
        problems.extend(problem.line(str(file.path), None) for problem in found)
        if not found:
            clients.append(client)


def _exists(path: Path) -> bool:
    """Return whether there is something at the path, if only a dangling link."""
    return os.path.lexists(path)


def _enabled(clients: Iterable[Client]) -> tuple[Client, ...]:
    return tuple(client for client in clients if client.enabled)


def _label(client: Client, audience: Audience) -> str:
    return f"{client.name}/{audience.name}"


def _check_known(names: Sequence[str], known: Sequence[str], *, kind: str) -> None:
    all_known = set(known)
    unknown = [name for name in dict.fromkeys(names) if name not in all_known]
    if not unknown:
        return
    near = [match for name in unknown for match in get_close_matches(name, known, n=2)]
    listed = f"enabled are {shortened(known, _MAX_LISTED)}" if known else "none is enabled"
    remedy = f"did you mean {' or '.join(dict.fromkeys(near))}? {listed}" if near else listed
    raise SelectionUnknown(
        f"no {kind} {', '.join(map(shown, unknown[:_MAX_LISTED]))} is declared and enabled", remedy=remedy
    )
