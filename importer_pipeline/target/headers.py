"""What a request's header can carry, and the secrets that are sent in one. Pure."""

from pydantic import SecretStr

from importer_pipeline.errors import SecretMissing


def fits_header(text: str) -> bool:
    """Return whether a text can be sent in a header: one line of Latin-1 (RFC 9110, 5.5)."""
    return text.isprintable() and all(ord(letter) < 256 for letter in text)


def header_secret(secret: SecretStr, *, name: str) -> str:
    """Return a secret that is to be sent in a header.

    Args:
        secret: the secret.
        name: what it is called in the message.

    Raises:
        SecretMissing: it is empty, or unfit for a header.
    """
    value = secret.get_secret_value()
    if not value or value != value.strip() or not fits_header(value):
        raise SecretMissing(
            f"the target's {name} is empty, or contains characters that an HTTP header can't carry",
            remedy="check for a space, a line break or a quotation mark where it is stored",
        )
    return value
