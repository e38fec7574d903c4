"""The request that would be sent, for a person to read: exact, but for its secrets. Pure."""

from collections.abc import Sequence

from importer_pipeline.records.contacts import AnyRecord
from importer_pipeline.target.bodies import body_of, headers_of, unique_records
from importer_pipeline.target.declaration import Declaration, Framing, PythonEntry, RequestForm

_MASK = "***"


class _Masked(dict[str, str]):
    """Any secret, masked."""

    def __missing__(self, name: str) -> str:
        return _MASK


def dry_run(url: str, declaration: Declaration | PythonEntry | None, records: Sequence[AnyRecord]) -> list[str]:
    """Return the first post of these records, line by line, with its secrets masked. It is shown uncompressed.

    Args:
        url: the target's URL.
        declaration: its protocol; None for the default.
        records: the records.
    """
    unique = unique_records(records)
    if isinstance(declaration, PythonEntry):
        contents = [str(record.content) for record in unique]
        return [f"{declaration.entry_point}: send of {len(contents)} records", *contents]
    form = RequestForm() if declaration is None else declaration.request
    if form.body.framing is Framing.ONE:
        unique = unique[:1]
    headers = headers_of(form, _Masked())
    if form.idempotency_header:
        headers[form.idempotency_header] = "(made from the batch)"
    plain = RequestForm(body=form.body)
    body = body_of(unique, plain).decode()
    return [f"{form.method} {url}{form.path}", *(f"{name}: {value}" for name, value in headers.items()), "", body]
