"""Every error this package raises, arranged by what the caller must do.

    ImporterError
    ├── TryAgain                    call again, after a pause
    │   ├── TooManyRequests           429: no failure, uses up no try
    │   ├── Unavailable               5xx, a blocked address, a connection refused, reset or cut
    │   │   └── TooSlow               504 or a reading time-out: ask for a smaller page
    │   └── BrokenAnswer              the answer can't be an answer to what was asked
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
    │   └── RecordsMostlyRefused      window after window refused by the target
    ├── StopClient                  nothing more can be had of this client in this run
    │   ├── SecretMissing             an environment variable or file that holds no usable secret
    │   ├── KeyRefused                Mailchimp answers 401, or 403 with JSON
    │   ├── AccountBusy               minutes of nothing but 429
    │   ├── AccountDown               window after window without an answer
    │   ├── TargetKeyRefused          the target answers 401 or 403
    │   ├── TargetMisplaced           the target answers with a redirect
    │   └── TargetDown                window after window without a 2xx
    └── StopRun                     nothing can be started, or go on
        ├── ClientsFileInvalid        the clients file, or a file of its folder
        ├── SettingsInvalid           an environment variable that can't be
        ├── SelectionUnknown          the run config names what the clients file lacks
        └── LocksUnusable             there can be no locks, so nothing would keep two syncs apart
            └── LocksLost               the locks that were held may be another sync's by now

A message says what was expected, what was seen and what to do. It never holds a body, an address, a name or a key: all of
them end in Dagster's event log, where nobody can erase them. Where it happened (client, audience, window) is added by who
knows it: see `importer_pipeline.sync`.
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
    """HTTP 429: the account's ten connections are taken, by us or by the client's other tools. No failure."""


class Unavailable(TryAgain):
    """No answer, or one that says that the server can't answer now."""


class TooSlow(Unavailable):
    """The server did not manage the page in time (HTTP 504 or a reading time-out): a smaller one may do."""


class BrokenAnswer(TryAgain):
    """An answer that can't be one to what was asked: cut, unsorted, out of bounds, too short, or not JSON."""


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


class StopClient(ImporterError):
    """Nothing more can be had of this client in this run; the other clients go on."""


class SecretMissing(StopClient):
    """A secret is absent, empty, or not of the form that it must have."""


class KeyRefused(StopClient):
    """Mailchimp refuses the key or token (401, or 403 with JSON)."""


class AccountBusy(StopClient):
    """Mailchimp answered nothing but 429 for minutes."""


class AccountDown(StopClient):
    """Several windows in a row got no answer from Mailchimp."""


class TargetKeyRefused(StopClient):
    """The target refuses the key (401 or 403)."""


class TargetMisplaced(StopClient):
    """The target answers with a redirect, which is never followed: it would carry the key elsewhere."""


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


class LocksUnusable(StopRun):
    """There can be no locks, so nothing would keep two syncs of one account apart."""


class LocksLost(LocksUnusable):
    """The locks of accounts that were held are gone: another sync may have them by now."""
