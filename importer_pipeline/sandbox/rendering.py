"""Members as JSON text: a fast path for the fields that an importer requests, the whole document for others."""

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Any

from importer_pipeline.sandbox.documents import iso, member_document
from importer_pipeline.sandbox.fields import Tree, chosen, tree_of
from importer_pipeline.sandbox.members import Member, MemberList

Column = Callable[[Sequence[Member]], Sequence[str]]
"""One field of many members, as JSON text: much cheaper than member by member."""

# In the order of the document. Both paths give the same text: a test compares them.
_COLUMNS: dict[str, Column] = {
    "id": lambda members: [encode_basestring_ascii(member.id) for member in members],
    "email_address": lambda members: [encode_basestring_ascii(member.email) for member in members],
    "contact_id": lambda members: [f'"{member.contact_id}"' for member in members],
    "status": lambda members: [encode_basestring_ascii(member.status) for member in members],
    "merge_fields": lambda members: [],
    "last_changed": lambda members: [f'"{iso(member.changed)}"' for member in members],
}


def members_json(members: Sequence[Member], member_list: MemberList, fields: str) -> str:
    """Render the members as a JSON array, with what `fields` (paths from the root of the answer) wants of each."""
    tree: Tree = tree_of(fields).get("members", {})
    table = _table(fields, member_list.tags)
    if table is None:
        return _dumps([chosen(member_document(member, member_list), tree) for member in members])
    template, columns = table
    usual = [member for member in members if member.oddities is None and member.merge_values is not None]
    rendered = [template % row for row in zip(*[column(usual) for column in columns], strict=True)]
    if len(usual) < len(members):
        fast = dict(zip((member.serial for member in usual), rendered, strict=True))
        rendered = [
            fast.get(member.serial) or _dumps(chosen(member_document(member, member_list), tree)) for member in members
        ]
    return f"[{','.join(rendered)}]"


@lru_cache(maxsize=256)
def _table(fields: str, tags: tuple[str, ...]) -> tuple[str, list[Column]] | None:
    """Return a template for a usual member and its columns; None if `fields` needs the whole document."""
    tree: Tree = tree_of(fields).get("members", {})
    below = {name for name, subtree in tree.items() if subtree}
    if not tree or not tree.keys() <= _COLUMNS.keys() or not below <= {"merge_fields"}:
        return None
    template: list[str] = []
    columns: list[Column] = []
    for name, column in _COLUMNS.items():
        if name not in tree:
            continue
        if name != "merge_fields":
            template.append(f'"{name}":%s')
            columns.append(column)
            continue
        wanted = [tag for tag in tags if not tree[name] or tag in tree[name]]
        if not wanted or any(tree[name].get(tag) for tag in wanted):
            return None
        template.append('"merge_fields":{' + ",".join(f'"{tag}":%s' for tag in wanted) + "}")
        columns.extend(_merge_column(tags.index(tag)) for tag in wanted)
    return "{" + ",".join(template) + "}", columns


def _merge_column(position: int) -> Column:
    """Return the column of the merge field at that position of the list's merge fields."""

    def column(members: Sequence[Member]) -> Sequence[str]:
        values = [member.merge_values[position] for member in members if member.merge_values is not None]
        return [encode_basestring_ascii(value) if type(value) is str else _dumps(value) for value in values]

    return column


def _dumps(document: Any) -> str:
    return json.dumps(document, separators=(",", ":"))
