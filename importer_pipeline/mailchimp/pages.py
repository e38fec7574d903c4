"""Parses answers of Mailchimp, checks them against the request, and maps them to a page for the engine."""

from importer_pipeline.engine.pages import Page
from importer_pipeline.errors import BrokenAnswer
from importer_pipeline.http.wire import Answer
from importer_pipeline.listing.coverage import ContactRequest, PageRequest, PageShape, page_shape
from importer_pipeline.mailchimp.client import read_member, read_members, server_time
from importer_pipeline.records.contacts import ContactMapping


def open_page(answer: Answer, request: PageRequest, mapping: ContactMapping) -> Page:
    """Return the page in an answer to `GET /lists/{list_id}/members`.

    Raises:
        ImporterError: as `read_members`; BrokenAnswer if it can't be the answer to `request`.
    """
    page = read_members(answer)
    stamps = [member["last_changed"] for member in page.members]
    shape = page_shape(request, stamps, page.total_items)
    contacts, lacking = mapping.contacts(page.members)
    return Page(shape=shape, contacts=contacts, stamps=stamps, lacking=lacking, server_time=page.server_time)


def open_contact(answer: Answer, request: ContactRequest, mapping: ContactMapping) -> Page:
    """Return the page of one contact, or none, in an answer to `GET /lists/{list_id}/members/{id}`.

    Raises:
        ImporterError: as `read_member`; BrokenAnswer if it is another contact than requested.
    """
    member = read_member(answer)
    members = [] if member is None else [member]
    if any(it.get("id") != request.contact_id or not isinstance(it.get("last_changed"), str) for it in members):
        raise BrokenAnswer("expected the contact that was asked for, with its last_changed, found something else")
    contacts, lacking = mapping.contacts(members)
    return Page(
        shape=PageShape(length=len(members), first=0, last=0, total=len(members)),
        contacts=contacts,
        stamps=[it["last_changed"] for it in members],
        lacking=lacking,
        server_time=server_time(answer),
    )
