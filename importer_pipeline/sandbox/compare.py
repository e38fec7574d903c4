"""Compares a target with Mailchimp: checks the delivery guarantee from outside, with code of its own.

Nothing here comes from the importer, so that a mistake of the importer is not repeated here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from importer_pipeline.sandbox.members import Member, MemberList
from importer_pipeline.sandbox.protocols import TargetRecord
from importer_pipeline.sandbox.target import SandboxTarget

RecordOf = Callable[[Member, MemberList], TargetRecord | None]
"""Returns the record that the target must hold of a member; None if it must hold none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Differences of a target from the lists it should mirror: sorted ids of records.

    Attributes:
        missing: at Mailchimp, not at the target.
        stale: at both, with other values.
        surplus: only at the target: deleted members and former addresses stay there, since it can't delete.
        refused: those of the missing and stale ones that the target refuses by a rule of its own.
    """

    missing: tuple[str, ...]
    stale: tuple[str, ...]
    surplus: tuple[str, ...]
    refused: tuple[str, ...]

    @property
    def kept(self) -> bool:
        """True if the target holds the present values of every member."""
        return not self.missing and not self.stale


def default_record(member: Member, member_list: MemberList) -> TargetRecord | None:
    """Return the record of the importer's default mapping; None for a member without an address, which has no id."""
    values = dict(zip(member_list.tags, member.merge_values or (), strict=False))
    if not member.email:
        return None
    firstname, lastname = (str(values.get(tag, "")) for tag in ("FNAME", "LNAME"))
    return TargetRecord(member.id, firstname, lastname, member.email, member.status)


def record_by_list(member: Member, member_list: MemberList) -> TargetRecord | None:
    """Return the same with the id `{list_id}-{id}`, for several lists that send to one target account."""
    record = default_record(member, member_list)
    return record and record._replace(id=f"{member_list.list_id}-{record.id}")


def compare(
    lists: MemberList | Sequence[MemberList], target: SandboxTarget, *, record_of: RecordOf = default_record
) -> Difference:
    """Compare all members of one or several lists, archived ones too, with all records of a target account."""
    missing: list[str] = []
    stale: list[str] = []
    refused: list[str] = []
    expected: set[str] = set()
    for member_list in [lists] if isinstance(lists, MemberList) else lists:
        for member in member_list:
            record = record_of(member, member_list)
            if record is None:
                continue
            expected.add(record.id)
            held = target.records.get(record.id)
            if held == record:
                continue
            (missing if held is None else stale).append(record.id)
            if target.refuses(record):
                refused.append(record.id)
    surplus = set(target.records) - expected
    return Difference(
        missing=tuple(sorted(missing)), stale=tuple(sorted(stale)), surplus=tuple(sorted(surplus)),
        refused=tuple(sorted(refused)),
    )  # fmt: skip
