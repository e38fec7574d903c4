"""Records to the body of a post, and its headers, as declared. Pure."""

import gzip
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic_core import to_json

from importer_pipeline.records.contacts import AnyRecord
from importer_pipeline.target.declaration import Body, Framing, RequestForm

_LEVEL = 5


def unique_records(records: Iterable[AnyRecord]) -> list[AnyRecord]:
    """Return the records, each id once: of several with the same id, the last."""
    return list({record.id: record for record in records}.values())


def body_of(records: Sequence[AnyRecord], form: RequestForm) -> bytes:
    """Return the body of a post of these records, compressed if so declared."""
    plain = _plain_body([record.content for record in records], form.body)
    return gzip.compress(plain, compresslevel=_LEVEL, mtime=0) if form.gzip else plain


def headers_of(form: RequestForm, values: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a post, with values in the places of the secrets that they name."""
    headers = {name: value.format_map(values) for name, value in form.headers.items()}
    headers["Content-Type"] = form.content_type
    if form.gzip:
        headers["Content-Encoding"] = "gzip"
    return headers


def _plain_body(contents: Sequence[dict[str, Any]], body: Body) -> bytes:
    match body.framing:
        case Framing.LIST:
            return to_json(contents)
        case Framing.OBJECT:
            return body.before + to_json(contents) + body.behind
        case Framing.LINES:
            return b"".join(to_json(content) + b"\n" for content in contents)
        case Framing.ONE:
            return to_json(contents[0] if contents else {})
