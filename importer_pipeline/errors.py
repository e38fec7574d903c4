"""Every error this package raises, arranged by what the caller must do.

    ImporterError
    ├── TryAgain                    call again, after a pause
    │   ├── TooManyRequests           429, or 503 with Retry-After: no failure, uses up no try
    │   ├── Unavailable               5xx, a connection refused, reset or cut
    │   │   ├── TooSlow                 504 or a reading time-out: ask for a smaller page
    │   │   └── TurnedAway              something in between answers: an edge, a firewall, a proxy
    │   └── BrokenAnswer              the answer can't be an answer to what was asked
    │       ├── ClockDoubtful           its Date is far from our own clock
    │       ├── PageTooShort            the page holds fewer contacts than its total says
    │       └── MemberUnreadable        a member of the page makes no sense
    ├── QuarantineContact           isolate the contact, keep it in the quarantine
    │   └── RecordRefused             the target answers 4xx to a batch: a record in it is bad
    ├── QuarantineWindow            leave this window, go on with the others
    │   ├── RequestRefused            400 and its like from Mailchimp: trying again can't help
    │   ├── TriesUsedUp               what could have passed did not
    │   ├── IsolationGivenUp          too many refused contacts in one window
    │   └── SecondTooCrowded          the order within one second never stood still
    ├── StopAudience                nothing more can be had of this audience
    │   ├── ListNotFound              404: no such list in this account
    │   ├── SnapshotUnusable          windows asked for that its snapshot can't have
    │   ├── HourNotOver               an hour asked for that still goes on
    │   ├── RecordsMostlyRefused      window after window refused by the target
    │   └── TimeUsedUp                the run or the audience has taken all the time that it may
    ├── StopClient                  nothing more can be had of this client in this run
    │   ├── SecretMissing             an environment variable or file that holds no usable secret
    │   ├── KeyRefused                Mailchimp answers 401, or 403 with JSON
    │   ├── ConnectionUnusable        a proxy, a certificate or a URL with which no request can be made
    │   ├── ClocksDisagree            Mailchimp's clock and ours, again and again
    │   ├── AddressBlocked            Mailchimp's edge turns away whoever comes from this address
    │   ├── AccountBusy               minutes of nothing but 429
    │   ├── AccountDown               window after window without an answer
    │   ├── TargetKeyRefused          the target answers 401, 402 or 403 whatever is sent
    │   ├── TargetMisplaced           the target answers with a redirect, 404, 405 or 410
    │   ├── TargetBusy                minutes of nothing but 429 from the target
    │   └── TargetDown                window after window without a 2xx
    └── StopRun                     nothing can be started, or go on
        ├── ClientsFileInvalid        the clients file, or a file of its folder
        ├── SettingsInvalid           an environment variable that can't be
        ├── SelectionUnknown          the run config names what the clients file lacks
        ├── MachineExhausted          no more files, threads, memory or disk
        └── LocksUnusable             there can be no locks, so nothing would keep two syncs apart
            └── LocksLost               the locks that were held may be another sync's by now

A message says what was expected, what was seen and what to do. It never holds a body, an address, a name or a key: all of
them end in Dagster's event log, where nobody can erase them. Where it happened (client, audience, window) is added by who
knows it: see `importer_pipeline.engine.sync`.
"""


class ImporterError(Exception):
    """What went wrong, and the remedy.

    Args:
        problem: what was expected and what was seen instead, without personal data.
        remedy: what a person can do about it; empty where there is nothing to do but wait.
    """

    def __init__(self, problem: str, *, remedy: str = "") -> None:
        super().__init__(f"{problem}: {remedy}" if remedy else problem)
        self.problem = problem
        self.remedy = remedy


class TryAgain(ImporterError):
    """It can pass: call again, after a pause."""


class TooManyRequests(TryAgain):
    """HTTP 429, or 503 with Retry-After: whoever is called asks for patience. No failure.

    Attributes:
        retry_after_seconds: the wait that the answer asks for, as it stands there; None if it does not say.
    """

    def __init__(self, problem: str, *, retry_after_seconds: float | None = None, remedy: str = "") -> None:
        super().__init__(problem, remedy=remedy)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(TryAgain):
    """No answer, or one that says that the server can't answer now."""


class TooSlow(Unavailable):
    """The server did not manage the page in time (HTTP 504 or a reading time-out): a smaller one may do."""


class TurnedAway(Unavailable):
    """The answer is not from whoever was called but from something in between, which may let the next request pass."""


class BrokenAnswer(TryAgain):
    """An answer that can't be one to what was asked: cut, unsorted, out of bounds, too short, or not JSON."""


class ClockDoubtful(BrokenAnswer):
    """The answer's Date is further from our own clock than clocks that are in use ever are."""


class PageTooShort(BrokenAnswer):
    """The page holds fewer contacts than its own total says that it must."""


class MemberUnreadable(BrokenAnswer):
    """A member of the page is no object, or has no time of its last change.

    Attributes:
        contact_id: Mailchimp's `id` of it; "" where it has none.
    """

    def __init__(self, problem: str, *, contact_id: str, remedy: str = "") -> None:
        super().__init__(problem, remedy=remedy)
        self.contact_id = contact_id


class QuarantineContact(ImporterError):
    """One contact can't be imported; its window goes on."""


class RecordRefused(QuarantineContact):
    """The target answers 4xx: a record of the batch is bad, and halving the batch tells which.

    Attributes:
        status: the HTTP status.
    """

    def __init__(self, problem: str, *, status: int, remedy: str = "") -> None:
        super().__init__(problem, remedy=remedy)
        self.status = status


class QuarantineWindow(ImporterError):
    """One window can't be imported now; the others go on."""


class RequestRefused(QuarantineWindow):
    """Mailchimp refuses this request for good (400 and its like)."""


class TriesUsedUp(QuarantineWindow):
    """Each try failed in a way that could have passed."""


class IsolationGivenUp(QuarantineWindow):
    """Finding the refused contacts of the window took more posts than one window may use."""


class SecondTooCrowded(QuarantineWindow):
    """More than a page of contacts share one second, and no round of reading agreed with its total."""


class StopAudience(ImporterError):
    """Nothing more can be had of this audience; the client's other audiences go on."""


class ListNotFound(StopAudience):
    """Mailchimp does not know the list (404)."""


class SnapshotUnusable(StopAudience):
    """Single windows are asked for, and the audience has no snapshot that holds them."""


class HourNotOver(StopAudience):
    """An hour is asked for that is not over by Mailchimp's clock."""


class RecordsMostlyRefused(StopAudience):
    """The target refused most records of several windows in a row."""


class TimeUsedUp(StopAudience):
    """The run, or the audience, has taken all the time that it may: what is left is the next run's."""


class StopClient(ImporterError):
    """Nothing more can be had of this client in this run; the other clients go on."""


class SecretMissing(StopClient):
    """A secret is absent, empty, or not of the form that it must have."""


class KeyRefused(StopClient):
    """Mailchimp refuses the key or token (401, or 403 with JSON)."""


class ConnectionUnusable(StopClient):
    """No request can be made with the proxy, the certificates or the URL that are set."""


class ClocksDisagree(StopClient):
    """Mailchimp's clock and ours lie far apart, however often it is asked."""


class AddressBlocked(StopClient):
    """Mailchimp's edge turns away all requests from this machine's address."""


class AccountBusy(StopClient):
    """Mailchimp answered nothing but 429 for minutes."""


class AccountDown(StopClient):
    """Several windows in a row got no answer from Mailchimp."""


class TargetKeyRefused(StopClient):
    """The target refuses the key (401, 402 or 403); of a batch, before it is clear that it is not what was sent."""


class TargetMisplaced(StopClient):
    """The target's URL leads nowhere, or to a redirect, which is never followed: it would carry the key elsewhere."""


class TargetBusy(StopClient):
    """The target answered nothing but 429 for minutes."""


class TargetDown(StopClient):
    """Several windows in a row got no 2xx from the target."""


class StopRun(ImporterError):
    """The run can't start, or can't go on."""


class ClientsFileInvalid(StopRun):
    """The clients file says something that can't be.

    Attributes:
        problems: one sentence each, all that is wrong.
    """

    def __init__(self, problem: str, *, problems: tuple[str, ...] = (), remedy: str = "") -> None:
        super().__init__(problem, remedy=remedy)
        self.problems = problems


class SettingsInvalid(StopRun):
    """An environment variable has a value that it can't have."""


class SelectionUnknown(StopRun):
    """The run config names a client or an audience that the clients file does not hold."""


class MachineExhausted(StopRun):
    """This machine has run out of something that every run needs: open files, threads, memory, room on a disk."""


class LocksUnusable(StopRun):
    """There can be no locks, so nothing would keep two syncs of one account apart."""


class LocksLost(LocksUnusable):
    """The locks of accounts that were held are gone: another sync may have them by now."""
