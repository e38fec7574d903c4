"""Mailchimp's `fields` and `exclude_fields`: parts of a document chosen by dotted paths from its root (D).

A path that matches nothing is ignored silently. Arrays are transparent: `members.id` means the id of each.
"""

from collections.abc import Iterable
from typing import Any

Tree = dict[str, Any]
"""Names, each with the tree of the parts wanted below it; an empty tree means all of it."""


def tree_of(paths: str) -> Tree:
    """Parse a comma-separated list of paths. A path that contains another one wins: it wants more."""
    root: Tree = {}
    for path in sorted(filter(None, (path.strip() for path in paths.split(","))), key=len):
        node = root
        for name in path.split("."):
            if node.get(name) == {}:
                break
            node = node.setdefault(name, {})
    return root


def chosen(document: Any, tree: Tree) -> Any:
    """Return the parts of a document that the tree wants."""
    if not tree:
        return document
    if isinstance(document, list):
        return [chosen(item, tree) for item in document]
    if not isinstance(document, dict):
        return document
    parts = ((name, chosen(value, tree[name])) for name, value in document.items() if name in tree)
    return {name: part for name, part in parts if part != {} or document[name] == {}}


def without(document: Any, paths: Iterable[str]) -> Any:
    """Return the document without what the paths name."""
    for path in paths:
        document = _less(document, path.strip().split("."))
    return document


def _less(document: Any, names: list[str]) -> Any:
    if isinstance(document, list):
        return [_less(item, names) for item in document]
    if not isinstance(document, dict) or names[0] not in document:
        return document
    if len(names) == 1:
        return {key: value for key, value in document.items() if key != names[0]}
    return {key: _less(value, names[1:]) if key == names[0] else value for key, value in document.items()}
