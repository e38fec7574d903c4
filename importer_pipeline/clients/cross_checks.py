"""Checks between audiences and between clients: names, lists, ids of records, the settings of one Mailchimp account.

Stays out: checks of single fields (see `client`), and files (see `clients_file`).
"""

from collections.abc import Iterable, Iterator, Sequence

from importer_pipeline.clients.client import Audience, Client
from importer_pipeline.clients.file_problems import Problem
from importer_pipeline.records.mapping import LIST_ID, Template
from importer_pipeline.redaction import shown_key, shown_path


def name_problems(names: Iterable[str], *, where: tuple[str, ...]) -> Iterator[Problem]:
    """Yield a problem for each name that equals another once `-` is replaced by `_`, as Dagster does for groups."""
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(_plain(name), name)
        if other != name:
            yield _too_alike(name, other, where=where)


def audience_problems(audiences: Sequence[Audience], *, where: tuple[str, ...]) -> Iterator[Problem]:
    """Yield a problem for each audience of a client that shares its list, or possibly ids of records, with another."""
    lists: dict[str, str] = {}
    senders: list[tuple[str, Template]] = []
    for audience in audiences:
        other = lists.setdefault(audience.list_id, audience.name)
        if other != audience.name:
            yield Problem(
                where=(*where, audience.name, "list_id"),
                what=f"{other} has the same list",
                remedy="correct one of the ids, or remove one audience",
            )
        elif (template := _of_any_list(audience)) is not None:
            if (rival := _rival(template, senders)) is not None:
                yield _collision(audience, rival, where=where)
            senders.append((audience.name, template))


class Register:
    """The clients declared so far; checks each further one against them."""

    def __init__(self) -> None:
        """Start without clients."""
        self._names: dict[str, tuple[str, str]] = {}
        self._accounts: dict[str, Client] = {}

    def add_name(self, name: str, *, file: str) -> Problem | None:
        """Add the name of a client, enabled or not; return a problem if it is in use."""
        other, other_file = self._names.setdefault(_plain(name), (name, file))
        if (other, other_file) == (name, file):
            return None
        if other_file == file:
            return _too_alike(name, other, where=("clients",))
        known = "it" if other == name else f"{other}, which is the same name to Dagster,"
        return Problem(
            where=("clients", name),
            what=f"{known} is already declared in {shown_path(other_file)}, and that declaration is used",
            remedy=f"remove it from {shown_path(file)} or from {shown_path(other_file)}, or rename one",
        )

    def add(self, client: Client) -> list[Problem]:
        """Add an enabled client; if it conflicts with earlier ones, return the problems instead."""
        where = ("clients", client.name)
        problems = list(self._account_problems(client, where))
        if not problems:
            self._accounts.setdefault(client.account, client)
        return problems

    def _account_problems(self, client: Client, where: tuple[str, ...]) -> Iterator[Problem]:
        other = self._accounts.get(client.account, client)
        if other.mailchimp.base_url != client.mailchimp.base_url:
            yield Problem(
                where=(*where, "mailchimp", "base_url"),
                what=f"{other.name} shares the account {client.account}, but has another base_url (or none)",
                remedy="write the same base_url in both, or rename one account",
            )


def _plain(name: str) -> str:
    return name.replace("-", "_")


def _too_alike(name: str, other: str, *, where: tuple[str, ...]) -> Problem:
    return Problem(
        where=(*where, name),
        what=f"{shown_key(name)} and {shown_key(other)} are the same name to Dagster, which writes - as _",
        remedy="rename one",
    )


def _of_any_list(audience: Audience) -> Template | None:
    """Return the template of an audience's ids; None if the list's id is a part of it."""
    template = audience.id_template
    return None if LIST_ID in template.paths else template


def _rival(template: Template, senders: Iterable[tuple[str, Template]]) -> str | None:
    """Return the first of the senders whose ids may equal those of `template`."""
    first, last = template.literals[0], template.literals[-1][::-1]
    for name, other in senders:
        if not (_differ(first, other.literals[0]) or _differ(last, other.literals[-1][::-1])):
            return name
    return None


def _differ(one: str, other: str) -> bool:
    """Return whether no text can start with both."""
    return not (one.startswith(other) or other.startswith(one))


def _collision(audience: Audience, other: str, *, where: tuple[str, ...]) -> Problem:
    own = audience.id_template
    apart = Template(literals=("", "-" + own.literals[0], *own.literals[1:]), paths=(LIST_ID, *own.paths))
    key = "record_id of the target" if audience.is_shaped else "id"
    return Problem(
        where=(*where, audience.name, "record", *([] if audience.is_shaped else ["id"])),
        what=f"{other} sends to the same target account, and the ids of their records may be equal:"
        " contacts in both lists would overwrite each other",
        remedy=f'write {key}: "{apart.text}"',
    )
