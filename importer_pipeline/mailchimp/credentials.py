"""Credentials of a Mailchimp account: an API key or an OAuth token, and the data centre that it belongs to.

Stays out: where the secret is stored (`clients/secret.py`), and requests (`mailchimp/client.py`).
"""

import base64
import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from pydantic import SecretStr

from importer_pipeline.errors import BrokenAnswer, SecretMissing

_PRINTABLE = re.compile(r"[!-~]+")
_DATA_CENTRE = re.compile(r"[a-z]{1,8}[0-9]{1,4}")
_DATA_CENTRE_HOST = re.compile(rf"({_DATA_CENTRE.pattern})\.api\.mailchimp\.com")
_MAILCHIMP_HOST = re.compile(r"[a-z0-9-]+\.api\.mailchimp\.com")


class CredentialKind(StrEnum):
    """The two kinds of secrets that Mailchimp accepts."""

    API_KEY = "api_key"
    ACCESS_TOKEN = "access_token"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """The secret of one account, safe to print.

    Attributes:
        kind: how the secret is sent, and how its data centre is found.
        secret: the key or token; SecretMissing if it can't be one.
    """

    kind: CredentialKind
    secret: SecretStr

    def __post_init__(self) -> None:
        if not _PRINTABLE.fullmatch(self.secret.get_secret_value()):
            raise SecretMissing(
                f"the Mailchimp {self.kind} is empty, or contains invalid characters",
                remedy="check for a space, a line break or a quotation mark where it is stored",
            )

    def authorization(self) -> str:
        """Return the Authorization header's value: Basic for a key, with any user name; Bearer for a token (D)."""
        secret = self.secret.get_secret_value()
        if self.kind is CredentialKind.ACCESS_TOKEN:
            return f"Bearer {secret}"
        return "Basic " + base64.b64encode(f"importer:{secret}".encode()).decode()

    def key_base_url(self) -> str:
        """Return the API's URL for the data centre at the end of an API key (D). SecretMissing if there is none."""
        _, dash, data_centre = self.secret.get_secret_value().rpartition("-")
        if not dash or not _DATA_CENTRE.fullmatch(data_centre):
            raise SecretMissing(
                "the Mailchimp API key does not end in its data centre, like -us6",
                remedy="copy the whole key from Mailchimp, or set mailchimp.base_url",
            )
        return f"https://{data_centre}.api.mailchimp.com/3.0"


def data_centre_of(base_url: str) -> str | None:
    """Return the data centre that an API URL names, such as us6; None if it names none."""
    match = _DATA_CENTRE_HOST.fullmatch(urlsplit(base_url).hostname or "")
    return None if match is None else match[1]


def token_base_url(api_endpoint: object, *, any_host: bool) -> str:
    """Return the API's URL from an OAuth token's metadata.

    Args:
        api_endpoint: as Mailchimp returns it, like `https://us3.api.mailchimp.com` (D).
        any_host: trust hosts other than Mailchimp's, too: only right if a person chose the server to ask.

    Raises:
        BrokenAnswer: it is not a URL, or the token would be sent to a host that is not Mailchimp's.
    """
    expected = "expected an https address under api.mailchimp.com in Mailchimp's OAuth metadata"
    if not isinstance(api_endpoint, str):
        raise BrokenAnswer(f"{expected}, found none")
    try:
        parts = urlsplit(api_endpoint)
        host = parts.hostname or ""
    except ValueError:
        raise BrokenAnswer(f"{expected}, found no URL") from None
    trusted = parts.scheme == "https" and _MAILCHIMP_HOST.fullmatch(parts.netloc)
    if not host or not (trusted or any_host):
        raise BrokenAnswer(f"{expected}, found another", remedy="the token was not sent there")
    return f"{parts.scheme}://{parts.netloc}/3.0"
