"""The types of fields of the clients file, each with its check.

Stays out: the fields themselves (see `client` and `target_settings`).
"""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict

from importer_pipeline.clients.file_problems import refusal
from importer_pipeline.errors import ClientsFileInvalid
from importer_pipeline.records.mapping import parse_template
from importer_pipeline.redaction import looks_like_a_secret, shown

_NAME = re.compile(r"[a-z0-9]+(?:[_-][a-z0-9]+)*")
_MAX_NAME = 63
_LIST_ID = re.compile(r"[a-z0-9]{6,16}")
_MAILCHIMP_HOSTS = ".api.mailchimp.com"
_TEAM = "team:"
# Dagster's own rule for owners, so that it never refuses the assets of a client.
_ADDRESS = re.compile(r"\b[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,7}\b")


def checked_name(name: str) -> str:
    """Check the name of a client, audience or account: it becomes part of keys, groups, folders and URLs."""
    if looks_like_a_secret(name):
        raise refusal("this looks like a key, not like a name", "write a name such as acme-2")
    if _NAME.fullmatch(name) and len(name) <= _MAX_NAME:
        return name
    written = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_MAX_NAME].rstrip("-")
    rule = f"a name has at most {_MAX_NAME} lower-case letters and digits, with single - or _ between them"
    raise refusal(rule, f"write {written}" if _NAME.fullmatch(written) else "write a name such as acme-2")


def _checked_list_id(list_id: str) -> str:
    if _LIST_ID.fullmatch(list_id):
        return list_id
    raise refusal(
        "a list's id has 6 to 16 lower-case letters and digits",
        'copy the "Audience ID" from the audience\'s settings in Mailchimp, such as 1a2d7ebf82',
    )


def checked_url(url: str) -> str:
    """Check a URL without user, query and fragment; return it without a slash at its end."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise refusal("this is not a URL", "write it as https://api.example.com") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise refusal("expected a URL with http or https and a host", "write it as https://api.example.com")
    if "@" in parts.netloc:
        raise refusal("the URL contains a user name or password", "remove it: the key is sent in a header")
    if "?" in url or "#" in url:
        raise refusal("the URL has a query or a fragment", "end it with the path: https://api.example.com/v1")
    if re.search(r"[\s\\]", url) or not url.isprintable():
        raise refusal(
            "the URL contains white space, a backslash or an invisible character", "write it as https://api.example.com"
        )
    return url.rstrip("/")


def _checked_base_url(url: str) -> str:
    parts = urlsplit(url)
    if (parts.hostname or "").endswith(_MAILCHIMP_HOSTS) and (parts.scheme, parts.path) != ("https", "/3.0"):
        raise refusal(
            "Mailchimp's API needs https and the path /3.0", f"write https://{shown(parts.hostname or '')}/3.0"
        )
    return url


def _checked_owner(owner: str) -> str:
    if _ADDRESS.fullmatch(owner) or (owner.startswith(_TEAM) and len(owner) > len(_TEAM)):
        return owner
    raise refusal("expected an e-mail address or a team", "write owner: team:crm")


def _checked_value(text: str) -> str:
    try:
        parse_template(text)
    except ClientsFileInvalid as error:
        raise refusal(error.problem, error.remedy) from None
    return text


def _checked_id(text: str) -> str:
    template = parse_template(_checked_value(text))
    if not template.paths:
        raise refusal("a record needs an id", "write id: id, or leave the key out")
    if not template.identifies:
        raise refusal(
            "this id is the same for all contacts: they would overwrite each other",
            'write id: id, or id: "{list_id}-{id}"',
        )
    return text


Name = Annotated[str, AfterValidator(checked_name)]
ListId = Annotated[str, AfterValidator(_checked_list_id)]
Url = Annotated[str, AfterValidator(checked_url)]
BaseUrl = Annotated[Url, AfterValidator(_checked_base_url)]
Owner = Annotated[str, AfterValidator(_checked_owner)]
Value = Annotated[str, AfterValidator(_checked_value)]
IdValue = Annotated[str, AfterValidator(_checked_id)]


class Declared(BaseModel):
    """A part of the clients file: unknown keys are refused, and its values never shown."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)
