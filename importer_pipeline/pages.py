"""A page of contacts, read and mapped: what stands between the answer of Mailchimp and the engine. Pure."""

from collections import Counter
from dataclasses import dataclass

from importer_pipeline.contacts import Contact, RecordMapping
from importer_pipeline.mailchimp import read_members
from importer_pipeline.windows import Ask, PageShape, page_shape
from importer_pipeline.wire import Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of an audience."""

    shape: PageShape
    """What it tells about the listing that it was cut from."""
    contacts: list[Contact]
    """Its contacts, mapped, in the order of the listing."""
    lacking: Counter[str]
    """How many of its contacts lack a mapped path, by path."""
    server_time: int | None
    """Mailchimp's clock when it answered, in epoch seconds; None where the answer has no Date."""


def open_page(answer: Answer, ask: Ask, mapping: RecordMapping) -> Page:
    """The page that an answer of `GET /lists/{list_id}/members` holds.

    Raises:
        ImporterError: what `read_members` makes of other answers; BrokenAnswer if it can't be the answer to `ask`.
    """
    page = read_members(answer)
    shape = page_shape(ask, [member["last_changed"] for member in page.members], page.total_items)
    contacts, lacking = mapping.contacts(page.members)
    return Page(shape=shape, contacts=contacts, lacking=lacking, server_time=page.server_time)
