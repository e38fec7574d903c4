"""Many clients of a sandbox, synced in full: one is late, the key of one is revoked, three have a refused contact."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import dagster as dg

from importer_pipeline.clients.collection import Clients
from importer_pipeline.defs.names import up_to_date_key
from importer_pipeline.defs.settings import Settings
from importer_pipeline.listing.hours import HOUR_SECONDS
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.sandbox.target import Manner, Refusal
from importer_pipeline_tests.support.runs import Ran, full_sync, incremental_sync, redrive, run_config
from importer_pipeline_tests.support.stage import Stage, in_order

_CONTACTS = 5
_HOURS_LATE = 8


class ClientsInTrouble:
    """The clients. A context manager, which serves them, and syncs them once.

    Args:
        folder: for the clients file and the secrets.
        instance: has the runs.
        clients: how many; at least six.
        hours_behind: by how much Mailchimp's clock is behind, so that hours can pass until it shows the present.

    Attributes:
        clients: the present clients file, loaded.
        revoked: the client whose key is revoked since its full sync.
        late: the client whose newest change is hours old.
        refused: the clients of which the target refuses a contact.
        well: one of the others.
    """

    def __init__(self, folder: Path, instance: dg.DagsterInstance, *, clients: int, hours_behind: int = 0) -> None:
        self.stage = Stage(folder)
        self.instance = instance
        self._seconds_behind = hours_behind * HOUR_SECONDS
        names = [f"client-{number:04}" for number in range(clients)]
        for name in names:
            self.stage.add(name, contacts=_CONTACTS)
        self.revoked, self.late, *self.refused, self.well = (*names[:5], names[5])
        self.clients: Clients
        self._keys: dict[str, list[str]] = {}

    def __enter__(self) -> Self:
        self.stage.__enter__()
        self.clients = self.stage.load()
        for client in self.stage.clients.values():
            client.account.clock_offset_seconds = -self._seconds_behind
            for member in list(client.lists[0]) if self._seconds_behind else ():
                client.lists[0].restamp([member.contact_id], member.changed - self._seconds_behind)
        self.stage.clients[self.late].account.clock_offset_seconds -= _HOURS_LATE * HOUR_SECONDS
        for name in self.refused:
            client = self.stage.clients[name]
            client.target.refusals = (Refusal.of_ids({in_order(client.lists[0])[0].id}, Manner.REJECT),)
        self.full_sync()
        self.revoke(self.revoked)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stage.__exit__(kind, error, trace)

    @property
    def names(self) -> Sequence[AudienceName]:
        """All audiences."""
        return [AudienceName(client, "newsletter") for client in self.stage.clients]

    def revoke(self, name: str) -> None:
        """Revoke the key of a client."""
        secrets = self.stage.clients[name].account.secrets
        self._keys[name] = list(secrets)
        secrets.clear()

    def pass_hour(self, *, within_seconds: float) -> None:
        """Change a contact of each client, and let an hour pass at Mailchimp, all but at the client that is late.

        Args:
            within_seconds: of it that pass by themselves.
        """
        with self.stage.sandbox.lock:
            for name, client in self.stage.clients.items():
                listed, account = client.lists[0], client.account
                listed.update(in_order(listed)[-1].contact_id, merge_fields={"FNAME": f"At {account.now()}"})
                if name != self.late:
                    account.clock_offset_seconds += HOUR_SECONDS - within_seconds

    def mend(self) -> None:
        """Let everything work again."""
        for name, keys in self._keys.items():
            self.stage.clients[name].account.secrets.update(keys)
        now = self.stage.clients[self.well].account.clock_offset_seconds
        self.stage.clients[self.late].account.clock_offset_seconds = now
        for name in self.refused:
            self.stage.clients[name].target.refusals = ()

    def full_sync(self, **config: Any) -> Ran:
        """Run the job that imports everything."""
        return full_sync(self.clients, run_config(**config), instance=self.instance)

    def incremental_sync(self, *, settings: Settings | None = None, **config: Any) -> Ran:
        """Run the job that imports what changed."""
        return incremental_sync(
            self.clients, run_config(op="import_changes", **config), instance=self.instance, settings=settings
        )

    def redrive(self) -> Ran:
        """Run the job that redrives the quarantine."""
        return redrive(self.clients, run_config(op="retry_quarantined"), instance=self.instance)

    def evaluations(self, *clients: str) -> list[dg.AssetCheckEvaluation]:
        """Return the newest evaluation of each client's check that has one."""
        keys = [up_to_date_key(AudienceName(client, "newsletter")) for client in clients]
        records = self.instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
        return [record.evaluation for record in records.values() if record.evaluation is not None]
