"""The host in a URL, for people."""

from urllib.parse import urlsplit


def host_of(url: str) -> str:
    """Return the host of a URL, with the port if it names one; "an unknown host" if it names none.

    What else stands before the host may be a secret.
    """
    try:
        host = urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        host = ""
    return host or "an unknown host"
