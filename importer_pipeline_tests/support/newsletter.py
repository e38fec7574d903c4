"""The newsletter of one client on a stage, and the runs that import it, in an instance that remembers them."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg

from importer_pipeline.clients.collection import Clients
from importer_pipeline.defs.locking import account_locks
from importer_pipeline.defs.names import QUARANTINE_KEY
from importer_pipeline.defs.quarantine_events import read_entries, write_entries
from importer_pipeline.listing.hours import HOUR_SECONDS, hour_key, last_second_over
from importer_pipeline.planning.quarantine import Entry, Failure, Quarantine
from importer_pipeline.runner.importing import account_identity
from importer_pipeline.sandbox.faults import REFUSED, FaultPlan, Rule
from importer_pipeline.sandbox.members import MemberList
from importer_pipeline.sandbox.messages import SandboxRequest
from importer_pipeline.sandbox.target import Manner, Refusal
from importer_pipeline_tests.support.partitions import Shown, shown, shown_partitions
from importer_pipeline_tests.support.runs import (
    Ran,
    full_sync,
    import_windows,
    incremental_sync,
    materialize,
    plan_windows,
    redrive,
    run_config,
)
from importer_pipeline_tests.support.stage import Declared, Stage, half_past, in_order

PAGE = 50
"""Contacts of a window, so that few contacts are several windows."""

STEP = 40
"""Contacts from one window to the next."""


class Newsletter:
    """An audience of acme: `acme/newsletter`.

    Args:
        stage: has acme.
        instance: has the runs.

    Attributes:
        clients: the present clients file, loaded.
        target: acme's account at the target.
        account: acme's account at Mailchimp.
    """

    CONTACTS = "acme/newsletter/contacts"
    WINDOWS = "acme/newsletter/contact_windows"
    CHANGES = "acme/newsletter/contact_changes"

    def __init__(self, stage: Stage, instance: dg.DagsterInstance) -> None:
        acme = stage.clients["acme"]
        self.stage = stage
        self.instance = instance
        self.clients: Clients = stage.load()
        self.target, self.account = acme.target, acme.account
        self._looked_at = 0

    @property
    def listed(self) -> MemberList:
        """Its list at Mailchimp."""
        return self.stage.clients["acme"].lists[0]

    @property
    def two(self) -> list[str]:
        """Ids of the two contacts that have been unchanged for longest."""
        return [member.id for member in in_order(self.listed)[:2]]

    @property
    def shown(self) -> Shown:
        """Its windows as Dagster's UI shows them now."""
        return shown(self.instance, "acme/newsletter", clients=self.stage.folder / "clients.yaml")

    @property
    def quarantine_shown(self) -> Shown:
        """The partitions of the quarantine as Dagster's UI shows them now."""
        return shown_partitions(self.instance, ["quarantine"], clients=self.stage.folder / "clients.yaml")

    @property
    def missing(self) -> set[str]:
        """Ids of contacts whose present values are not at the target."""
        return self.stage.missing("acme")

    def declare(self, **changes: Any) -> None:
        """Change the clients file: the audience or (`target`, `mailchimp`) the client."""
        declared = self.stage.declared()
        acme: Declared = declared["acme"]
        for key, value in changes.items():
            part = acme if key in acme else acme["audiences"]["newsletter"]
            part[key] = {**part[key], **value} if key in acme else value
        self.clients = self.stage.load(declared)

    def go_back(self, *, hours: int) -> None:
        """Move Mailchimp's clock back by hours, and the contacts' changes before that, minutes apart.

        To half past: up to an hour further.
        """
        self.account.clock_offset_seconds = half_past(hours_ago=hours)
        for listed in self.stage.clients["acme"].lists:
            for number, member in enumerate(list(listed)):
                listed.restamp([member.contact_id], self.account.now() - 3600 - 300 * number)

    def let_hours_pass(self, hours: int = 1) -> None:
        """Move Mailchimp's clock forward."""
        self.account.clock_offset_seconds += hours * HOUR_SECONDS

    def change(self, *numbers: int, seconds_ago: int = 0) -> set[str]:
        """Change these contacts by Mailchimp's clock; return their ids."""
        members = list(self.listed)
        at = self.account.now() - seconds_ago
        for number in numbers:
            self.listed.update(members[number].contact_id, merge_fields={"FNAME": f"At {at}"}, at=at)
        return {members[number].id for number in numbers}

    def hour(self, *, ago: int = 0) -> str:
        """Return the key of the newest hour that is over by Mailchimp's clock, or of one before it."""
        return hour_key(last_second_over(self.account.now()) - ago * HOUR_SECONDS)

    def incremental_sync(self, **config: Any) -> Ran:
        """Run the job that imports what changed."""
        return incremental_sync(self.clients, run_config(op="import_changes", **config), instance=self.instance)

    def redrive(self, **config: Any) -> Ran:
        """Run the job that redrives the quarantine."""
        return redrive(self.clients, run_config(op="retry_quarantined", **config), instance=self.instance)

    def import_hours(self, *keys: str, **mailchimp: Any) -> Ran:
        """Launch one hour, or those from the first to the last, by hand."""
        asset = dg.AssetKey.from_user_string(self.CHANGES)
        return materialize(self.clients, [asset], instance=self.instance, partitions=keys, mailchimp=mailchimp)

    def refuse(self, *ids: str) -> None:
        """Let the target refuse exactly these contacts from now on."""
        self.target.refusals = (Refusal.of_ids(set(ids), Manner.REJECT),) if ids else ()

    def fail(self, applies: Callable[[SandboxRequest], bool] | None = None) -> None:
        """Let Mailchimp fail for these requests from now on, or for none."""
        self.account.fault_plan = FaultPlan(rules=(Rule(applies=applies, fault=REFUSED),) if applies else ())

    @contextmanager
    def busy(self) -> Generator[None]:
        """Lock the account for another sync while the `with` block runs."""
        locks = account_locks(self.instance)
        assert locks.take({account_identity(client) for client in self.clients.clients})
        try:
            yield
        finally:
            locks.release_all()

    @contextmanager
    def revoked(self) -> Generator[None]:
        """Revoke the account's key while the `with` block runs."""
        (key,) = self.account.secrets
        self.account.secrets.clear()
        yield
        self.account.secrets.add(key)

    def retry(self, *partitions: str) -> Ran:
        """Materialize a partition of the quarantine, or those from the first to the last, by hand."""
        return materialize(self.clients, [QUARANTINE_KEY], instance=self.instance, partitions=partitions)

    @property
    def quarantined(self) -> dict[str, Entry]:
        """Entries of the quarantine, by partition."""
        return {str(entry.ref): entry for entry in read_entries(self.instance)}

    def let_quarantine_rest(self, *, seconds: int) -> None:
        """Move the last attempts of all entries of the quarantine into the past."""

        def earlier(failures: dict[str, Failure]) -> dict[str, Failure]:
            return {key: replace(it, last_seen=it.last_seen - seconds) for key, it in failures.items()}

        entries = [
            replace(entry, failures=earlier(entry.failures), contacts=earlier(entry.contacts))
            for entry in self.quarantined.values()
        ]
        kept = Quarantine(entries, began=0.0)
        log, run = self.instance.report_runless_asset_event, dg.DagsterRun(job_name="any")
        write_entries(self.instance, log, kept, list(kept.entries), run=run)

    def full_sync(self, *, page_size: int = PAGE, **config: Any) -> Ran:
        """Run the job that imports all windows that are missing."""
        return full_sync(self.clients, run_config(mailchimp={"page_size": page_size}, **config), instance=self.instance)

    def plan_windows(self, *, page_size: int = PAGE, **config: Any) -> Ran:
        """Run the job that registers windows."""
        config = run_config(op="register_windows", mailchimp={"page_size": page_size}, **config)
        return plan_windows(self.clients, config, instance=self.instance)

    def import_windows(self, *keys: str) -> Ran:
        """Launch one window, or those from the first to the last, by hand."""
        return import_windows(self.clients, "acme/newsletter", *keys, instance=self.instance)

    def asked(self) -> list[SandboxRequest]:
        """Return the requests to Mailchimp since the previous call."""
        answered, self._looked_at = self.stage.sandbox.answered[self._looked_at :], len(self.stage.sandbox.answered)
        return [request for request in answered if request.method == "GET"]


def hours_of(ran: Ran, asset: str = Newsletter.CHANGES) -> list[str]:
    """Return the hours that a run imported."""
    return ran.partitions(asset)


def archived_changes(request: SandboxRequest) -> bool:
    """Match requests for changes of archived contacts, for `Newsletter.fail`."""
    return "since_last_changed" in request.query and "status" in request.query


@contextmanager
def newsletter_of_before(
    folder: Path, instance: dg.DagsterInstance, *, hours: int = 8, audiences: int = 1
) -> Generator[Newsletter]:
    """Serve a newsletter of 60 contacts, some hours back by Mailchimp's clock, that was never synced."""
    stage = Stage(folder)
    stage.add("acme", contacts=60, audiences=audiences)
    with stage:
        newsletter = Newsletter(stage, instance)
        newsletter.go_back(hours=hours)
        yield newsletter
