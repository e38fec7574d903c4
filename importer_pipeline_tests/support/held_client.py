"""A client whose Mailchimp holds back answers after a number of pages, and the commands that import it.

No two of its contacts share a second, so that each window is one page, read once, and each page tells its window.
"""

from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from importer_pipeline.clients.collection import Clients
from importer_pipeline.listing.hours import HOUR_SECONDS
from importer_pipeline.listing.snapshots import window_key
from importer_pipeline.sandbox.faults import Fate, FaultPlan
from importer_pipeline.sandbox.members import ARCHIVED
from importer_pipeline.sandbox.messages import SandboxRequest
from importer_pipeline_tests.support.commands import Commands
from importer_pipeline_tests.support.locked_accounts import locked_account
from importer_pipeline_tests.support.runs import run_config
from importer_pipeline_tests.support.stage import Stage

CLIENT = "acme"
AUDIENCE = f"{CLIENT}/newsletter"
PAGE_SIZE = 30
STEP = PAGE_SIZE - 10

_DAY_SECONDS = 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding(FaultPlan):
    """Answers the first pages at once, and holds all others back for a while.

    Attributes:
        quick_pages: number of pages that it answers at once.
        held_seconds: latency of the others.
        asked: the requested pages, except those refused because ten requests were in progress.
    """

    quick_pages: int
    held_seconds: float
    asked: list[SandboxRequest] = field(default_factory=list[SandboxRequest])

    def fate(self, request: SandboxRequest, random: Random) -> Fate:
        """Answer later, but note the request at once."""
        self.asked.append(request)
        return Fate(answer_after_seconds=0.0 if len(self.asked) <= self.quick_pages else self.held_seconds)

    @property
    def windows(self) -> list[str]:
        """Windows requested by a sync without earlier windows, or by time: these count from the beginning."""
        return [
            window_key(int(page.query["offset"]), archived=page.query.get("status") == ARCHIVED) for page in self.asked
        ]


class HeldClient:
    """A client, and the commands that import it.

    Args:
        stage: serves it.
        commands: runs commands.

    Attributes:
        commands: runs commands.
        clients: the clients file, loaded, for runs in this process.
        config: a run's config with which the client has dozens of windows.
    """

    def __init__(self, stage: Stage, commands: Commands) -> None:
        self._stage = stage
        self._client = stage.clients[CLIENT]
        self._contents = dict(_contents(self._client.lists[0]))
        self.commands = commands
        self.clients: Clients = stage.load()
        self.config: dict[str, Any] = run_config(mailchimp={"page_size": PAGE_SIZE})

    def hold(self, *, after_pages: int, seconds: float) -> Holding:
        """Answer so many pages at once from now on, and hold the others back."""
        holding = Holding(quick_pages=after_pages, held_seconds=seconds)
        self._client.account.fault_plan = holding
        return holding

    def let_go(self) -> Holding:
        """Answer all pages at once from now on."""
        return self.hold(after_pages=0, seconds=0.0)

    def let_target_answer_after(self, *, seconds: float) -> None:
        """Let the target store batches at once and answer later, from now on."""
        self._client.target.fault_plan = Holding(quick_pages=0, held_seconds=seconds)

    def go_back(self, *, hours: int) -> None:
        """Move Mailchimp's clock back by hours, and the contacts' changes before that."""
        self._client.account.clock_offset_seconds = -hours * HOUR_SECONDS
        for member in list(self._client.lists[0]):
            self._client.lists[0].restamp([member.contact_id], member.changed - hours * HOUR_SECONDS)

    def let_hours_pass(self, hours: int = 1) -> None:
        """Change some contacts, then move Mailchimp's clock forward."""
        listed = self._client.lists[0]
        for member in list(listed)[:5]:
            listed.update(member.contact_id, merge_fields={"FNAME": f"At {self._client.account.now()}"})
        self._client.account.clock_offset_seconds += hours * HOUR_SECONDS

    @contextmanager
    def revoked(self) -> Generator[None]:
        """Revoke the client's key at Mailchimp while the `with` block runs."""
        secrets = set(self._client.account.secrets)
        self._client.account.secrets.clear()
        yield
        self._client.account.secrets |= secrets

    @property
    def keys(self) -> set[str]:
        """All windows of its audience."""
        return set(self._contents)

    @property
    def reported(self) -> set[str]:
        """Windows that the event log has as imported."""
        return self.commands.windows(AUDIENCE)

    @property
    def whole_at_target(self) -> set[str]:
        """Windows all of whose contacts are at the target."""
        held = self._client.target.records.keys()
        return {key for key, ids in self._contents.items() if ids <= held}

    @property
    def missing(self) -> set[str]:
        """Ids of contacts whose present values are not at the target."""
        return self._stage.missing(CLIENT)

    @property
    def most_in_progress(self) -> int:
        """Maximum number of our requests that Mailchimp had at once, including those it refused for that."""
        figures = self._client.account.traffic.figures(self._stage.sandbox.clock())
        return figures.peak_in_progress + figures.refused_429

    def account_taken(self) -> AbstractContextManager[bool]:
        """Lock its account as another sync would; yield whether it was free."""
        (client,) = self.clients.clients
        return locked_account(client)


@contextmanager
def held_client(folder: Path, *, contacts: int = 1200) -> Generator[HeldClient]:
    """Serve such a client while the `with` block runs. XDG_STATE_HOME should name a folder of the test's own."""
    stage = Stage(folder)
    client = stage.add(CLIENT, contacts=contacts)
    newest = client.account.now() - _DAY_SECONDS
    for number, member in enumerate(client.lists[0]):
        client.lists[0].update(member.contact_id, at=newest - number)
    with stage, Commands(folder, stage.write()) as commands:
        yield HeldClient(stage, commands)


def _contents(listed: Iterable[Any]) -> Generator[tuple[str, set[str]]]:
    """Yield the ids of the contacts of each window, with its key."""
    by_age = sorted(listed, key=lambda member: member.changed)
    for archived in (False, True):
        ids = [member.id for member in by_age if (member.status == ARCHIVED) is archived]
        for offset in range(0, len(ids), STEP):
            yield window_key(offset, archived=archived), set(ids[offset : offset + PAGE_SIZE])
