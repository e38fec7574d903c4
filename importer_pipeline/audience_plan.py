"""What the engine has to know of an audience. A record, pure."""

from dataclasses import dataclass

from importer_pipeline.snapshots import AudienceName, Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class AudiencePlan:
    """An audience to sync."""

    name: AudienceName
    account: str
    """Name of the Mailchimp account, which several clients may share."""
    account_connections: int
    """Connections that may be used at once for that account."""
    target: str
    """URL of the target, which several clients may share."""
    fingerprint: str
    """What its snapshots are taken of and for."""
    since: int
    """Epoch seconds; only contacts changed after it are taken. `windows.BEGINNING` for all."""
    standing: Standing | None
    """The snapshot to go on with; None for a new one."""
    wanted: frozenset[str] | None
    """Keys of the windows to read, also of those that are in. None for all that are not in; without any, they are counted."""
