"""What a check finds about a client. Pure.

Holds the judgements on facts that were read: merge tags of a mapping, accounts that clients share. Stays out: reading
the facts (`check.py`).
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from importer_pipeline.records.contacts import ContactMapping
from importer_pipeline.redaction import shortened, shown

_MERGE_FIELDS = "merge_fields."
_MAX_LISTED = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something to know about a client.

    Attributes:
        where: the part of the clients file that it is about, such as `mailchimp` or `audiences.newsletter`.
        problem: what was expected and found.
        remedy: what to do; "" if nothing.
        is_problem: False for a note: nothing is known to be wrong.
    """

    where: str
    problem: str
    remedy: str
    is_problem: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedAudience:
    """An audience whose list exists.

    Attributes:
        name: its name in the clients file.
        list_name: the list's name at Mailchimp.
        subscribed: number of subscribed contacts.
    """

    name: str
    list_name: str
    subscribed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedClient:
    """What was found about a client.

    Attributes:
        name: its name in the clients file.
        account: the name of its Mailchimp account there.
        account_id: Mailchimp's id of the account; "" if the key was not accepted.
        audiences: those whose lists exist.
        findings: all that is wrong, and notes.
    """

    name: str
    account: str
    account_id: str
    audiences: tuple[CheckedAudience, ...]
    findings: tuple[Finding, ...]

    @property
    def is_well(self) -> bool:
        """True if no problem was found."""
        return not any(finding.is_problem for finding in self.findings)


def finding_lines(finding: Finding) -> list[str]:
    """Return a finding in a line for people, and its remedy in another one."""
    kind = "" if finding.is_problem else "note: "
    remedy = [f"  -> {finding.remedy}"] if finding.remedy else []
    return [f"{finding.where}: {kind}{finding.problem}", *remedy]


def uses_merge_tags(mapping: ContactMapping) -> bool:
    """Return whether a mapping reads any merge field."""
    return any(path.startswith(_MERGE_FIELDS) for path in mapping.paths)


def tag_findings(audience: str, mapping: ContactMapping, tags: Sequence[str]) -> list[Finding]:
    """Return a finding for each merge tag of a mapping that its list does not have; the nearest one is named.

    Args:
        audience: the audience's name.
        mapping: its mapping.
        tags: the merge tags of its list.
    """
    found: list[Finding] = []
    for source in mapping.sources:
        key = source.key
        for path in source.paths:
            tag = path.removeprefix(_MERGE_FIELDS).partition(".")[0]
            if path.startswith(_MERGE_FIELDS) and tag not in tags:
                near = get_close_matches(tag, tags, n=1, cutoff=0.5)
                listed = (
                    f"the list has {shortened(sorted(tags), _MAX_LISTED)}" if tags else "the list has no merge tags"
                )
                did_you_mean = f"did you mean {_MERGE_FIELDS}{shown(near[0])}? " if near else ""
                empty = "" if key == "id" else f'; write {key}: "" to send none'
                found.append(
                    Finding(
                        where=f"audiences.{audience}.record.{key}",
                        problem=f"the list has no merge tag {tag}",
                        remedy=f"{did_you_mean}{listed}{empty}",
                    )
                )
    return found


def with_account_findings(clients: Sequence[CheckedClient]) -> list[CheckedClient]:
    """Add a finding to clients that share an account without declaring it, or declare one account and have several."""
    names: dict[str, set[str]] = defaultdict(set)
    ids: dict[str, set[str]] = defaultdict(set)
    of_account: dict[str, list[str]] = defaultdict(list)
    for client in clients:
        if client.account_id:
            names[client.account_id].add(client.account)
            ids[client.account].add(client.account_id)
            of_account[client.account_id].append(client.name)
    return [_with_account_finding(client, names, ids, of_account) for client in clients]


def _with_account_finding(
    client: CheckedClient, names: Mapping[str, Collection[str]], ids: Mapping[str, Collection[str]],
    of_account: Mapping[str, Sequence[str]],
) -> CheckedClient:  # fmt: skip
    if not client.account_id:
        return client
    found = list(client.findings)
    if len(names[client.account_id]) > 1:
        others = [name for name in of_account[client.account_id] if name != client.name]
        found.append(
            Finding(
                where="mailchimp.account",
                problem=f"shares its Mailchimp account with {shortened(others, _MAX_LISTED)} and does not say so: "
                "together they may exceed its ten connections",
                remedy=f"write account: {min(names[client.account_id])} in the mailchimp section of each",
            )
        )
    if len(ids[client.account]) > 1:
        found.append(
            Finding(
                where="mailchimp.account",
                problem=f"is declared to share the account {client.account}, but the keys belong to different accounts",
                remedy="give each client the key of the shared account, or remove account from those with one of their own",
            )
        )
    return replace(client, findings=tuple(found))
