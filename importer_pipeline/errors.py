"""All errors that this package raises, by what the caller must do.

    ImporterError
    ├── TryAgain                    call again, after a pause
    │   ├── TooManyRequests           429, or 503 with Retry-After: not a failure, does not count as a retry
    │   ├── Unavailable               5xx; a connection refused, reset or cut
    │   │   ├── TooSlow                 504 or a read timeout: request a smaller page
    │   │   └── TurnedAway              the answer is from an edge, a firewall or a proxy
    │   ├── NoFreeConnection          all connections were in use for too long
    │   └── BrokenAnswer              the answer does not fit the request
    │       ├── ClockDoubtful           its Date is far from our clock
    │       ├── PageTooShort            the page has fewer contacts than its total implies
    │       └── MemberUnreadable        a member of the page is malformed
    ├── QuarantineContact           isolate the contact, add it to the quarantine
    │   └── RecordRefused             the target answers 4xx to a batch: a record in it is bad
    ├── QuarantineWindow            fail this window, continue with the others
    │   ├── RequestRefused            400 and the like from Mailchimp: a retry can't help
    │   ├── TriesUsedUp               all retries failed
    │   ├── IsolationGivenUp          too many refused contacts in one window
    │   └── SecondTooCrowded          the order within one second kept changing
    ├── StopAudience                stop this audience, continue with the others
    │   ├── ListNotFound              404: no such list in this account
    │   ├── SnapshotUnusable          windows requested that its snapshot does not have
    │   ├── HourNotOver               an hour requested that is not over
    │   ├── RecordsMostlyRefused      window after window refused by the target
    │   └── TimeUsedUp                the run or the audience has reached its time limit
    ├── StopClient                  stop this client in this run, continue with the others
    │   ├── SecretMissing             an environment variable or file without a usable secret
    │   ├── KeyRefused                Mailchimp answers 401, or 403 with JSON
    │   ├── ConnectionUnusable        a proxy, a certificate or a URL that can't be used
    │   ├── ClocksDisagree            Mailchimp's clock and ours differ repeatedly
    │   ├── AddressBlocked            Mailchimp's edge blocks this machine's address
    │   ├── AccountBusy               minutes of nothing but 429
    │   ├── AccountDown               window after window without an answer
    │   ├── TargetKeyRefused          the target answers 401, 402 or 403 whatever is sent
    │   ├── TargetMisplaced           the target answers with a redirect, 404, 405 or 410
    │   ├── TargetBusy                minutes of nothing but 429 from the target
    │   └── TargetDown                window after window without a 2xx
    └── StopRun                     the run can't start or continue
        ├── ClientsFileInvalid        the clients file, or a file of its folder
        ├── SettingsInvalid           an environment variable with an invalid value
        ├── SelectionUnknown          the run config names an unknown client or audience
        ├── RunConfigInvalid          the run config has a key or a value that the job does not take
        ├── MachineExhausted          no more files, threads, memory or disk
        └── LocksUnusable             locks are impossible, so two syncs could overlap
            └── LocksLost               another sync may hold the locks by now

A message says what was expected, what was seen and what to do. It never contains a body, an address, a name or a key:
messages end up in Dagster's event log, where nobody can erase them. The place (client, audience, window) is added by
the engine: see `importer_pipeline.engine.sync`.
"""


class ImporterError(Exception):
    """A problem and its remedy.

    Args:
        problem: what was expected and what was seen instead, without personal data.
        remedy: what a person can do about it; empty if all they can do is wait.
    """

    def __init__(self, problem: str, *, remedy: str = "") -> None:
        super().__init__(f"{problem}: {remedy}" if remedy else problem)
        self.problem = problem
        self.remedy = remedy


class TryAgain(ImporterError):
    """It may pass: call again, after a pause."""


class TooManyRequests(TryAgain):
    """HTTP 429, or 503 with Retry-After: the server asks to wait. Not a failure.

    Attributes:
        retry_after_seconds: the wait that the answer asks for, unchanged; None if it asks for none.
    """

    def __init__(self, problem: str, *, retry_after_seconds: float | None = None, remedy: str = "") -> None:
        super().__init__(problem, remedy=remedy)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(TryAgain):
    """No answer, or one that says that the server is unavailable."""


class TooSlow(Unavailable):
    """The server did not finish the page in time (HTTP 504 or a read timeout): a smaller one may succeed."""


class TurnedAway(Unavailable):
    """The answer is not from the server but from something in between, which may let the next request pass."""


class NoFreeConnection(TryAgain):
    """No connection to the account or target became free in the time that the caller waits. Nothing was sent."""


class BrokenAnswer(TryAgain):
    """An answer that does not fit the request: cut, unsorted, out of bounds, too short, or not JSON."""


class ClockDoubtful(BrokenAnswer):
    """The answer's Date differs from our clock more than real clocks do."""


class PageTooShort(BrokenAnswer):
    """The page has fewer contacts than its own total implies."""


class MemberUnreadable(BrokenAnswer):
    """A member of the page is not an object, or has no time of its last change.

    Attributes:
        contact_id: Mailchimp's `id` of it; "" if it has none.
    """

    def __init__(self, problem: str, *, contact_id: str, remedy: str = "") -> None:
        super().__init__(problem, remedy=remedy)
        self.contact_id = contact_id


class QuarantineContact(ImporterError):
    """One contact can't be imported; its window continues."""


class RecordRefused(QuarantineContact):
    """The target answers 4xx: a record of the batch is bad, and halving the batch finds it.

    Attributes:
        status: the HTTP status.
    """

    def __init__(self, problem: str, *, status: int, remedy: str = "") -> None:
        super().__init__(problem, remedy=remedy)
        self.status = status


class QuarantineWindow(ImporterError):
    """One window can't be imported now; the others continue."""


class RequestRefused(QuarantineWindow):
    """Mailchimp refuses this request permanently (400 and the like)."""


class TriesUsedUp(QuarantineWindow):
    """All retries failed."""


class IsolationGivenUp(QuarantineWindow):
    """Isolating the refused contacts of the window took more posts than one window may use."""


class SecondTooCrowded(QuarantineWindow):
    """More than a page of contacts share one second, and no round of reading matched its total."""


class StopAudience(ImporterError):
    """This audience must stop; the client's other audiences continue."""


class ListNotFound(StopAudience):
    """Mailchimp does not have the list (404)."""


class SnapshotUnusable(StopAudience):
    """Single windows are requested, and the audience has no snapshot with them."""


class HourNotOver(StopAudience):
    """An hour is requested that is not over by Mailchimp's clock."""


class RecordsMostlyRefused(StopAudience):
    """The target refused most records of several consecutive windows."""


class TimeUsedUp(StopAudience):
    """The run, or the audience, has reached its time limit: the next run imports the rest."""


class StopClient(ImporterError):
    """This client must stop in this run; the other clients continue."""


class SecretMissing(StopClient):
    """A secret is absent, empty, or malformed."""


class KeyRefused(StopClient):
    """Mailchimp refuses the key or token (401, or 403 with JSON)."""


class ConnectionUnusable(StopClient):
    """No request is possible with the configured proxy, certificates or URL."""


class ClocksDisagree(StopClient):
    """Mailchimp's clock and ours are far apart in repeated answers."""


class AddressBlocked(StopClient):
    """Mailchimp's edge blocks all requests from this machine's address."""


class AccountBusy(StopClient):
    """Mailchimp answered nothing but 429 for minutes."""


class AccountDown(StopClient):
    """Several consecutive windows got no answer from Mailchimp."""


class TargetKeyRefused(StopClient):
    """The target refuses the key (401, 402 or 403). For a batch, the records may still be the cause."""


class TargetMisplaced(StopClient):
    """The target's URL leads nowhere, or to a redirect, which is not followed: it would send the key elsewhere."""


class TargetBusy(StopClient):
    """The target answered nothing but 429 for minutes."""


class TargetDown(StopClient):
    """Several consecutive windows got no 2xx from the target."""


class StopRun(ImporterError):
    """The run can't start or continue."""


class ClientsFileInvalid(StopRun):
    """The clients file is invalid.

    Attributes:
        problems: all problems, one sentence each.
    """

    def __init__(self, problem: str, *, problems: tuple[str, ...] = (), remedy: str = "") -> None:
        super().__init__(problem, remedy=remedy)
        self.problems = problems


class SettingsInvalid(StopRun):
    """An environment variable has an invalid value."""


class SelectionUnknown(StopRun):
    """The run config names a client or an audience that the clients file does not have."""


class RunConfigInvalid(StopRun):
    """The run config has a key or a value that the job does not take."""


class MachineExhausted(StopRun):
    """This machine is out of a resource that every run needs: open files, threads, memory, disk space."""


class LocksUnusable(StopRun):
    """Locks are impossible, so two syncs of one account could overlap."""


class LocksLost(LocksUnusable):
    """The locks of accounts are lost: another sync may hold them by now."""
