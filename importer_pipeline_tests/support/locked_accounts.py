"""A Mailchimp account that another sync has, as far as anyone can tell."""

from collections.abc import Generator
from contextlib import contextmanager

from importer_pipeline.clients.client import Client, account_identity
from importer_pipeline.locks.files import FileAccountLocks, default_folder


@contextmanager
def locked_account(client: Client) -> Generator[bool]:
    """Lock a client's account as another sync would while the `with` block runs; yield whether it was free."""
    locks = FileAccountLocks(default_folder())
    taken = locks.take({account_identity(client)})
    yield bool(taken)
    locks.release_all()
