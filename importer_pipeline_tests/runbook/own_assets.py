"""A code location of one's own, as docs/own_assets.md describes it: the importer's, with assets that can't be made."""

from threading import Thread

import dagster as dg

from importer_pipeline import build_defs
from importer_pipeline.clients.collection import clients_from_environment
from importer_pipeline.defs.resources import MailchimpResource


@dg.asset
def of_several_lists(mailchimp: MailchimpResource) -> None:
    """Ask for the members of a client with several audiences."""
    list(mailchimp.client("several").segment_members(1))


@dg.asset
def with_a_query(mailchimp: MailchimpResource) -> None:
    """Ask for a path with a query."""
    mailchimp.client("fine").get("/lists?count=5")


@dg.asset
def of_nothing(mailchimp: MailchimpResource) -> None:
    """Ask for a segment that does not exist."""
    list(mailchimp.client("fine/newsletter").segment_members(1))


@dg.asset
def beside_another(mailchimp: MailchimpResource) -> None:
    """Ask while another request has the only connection."""
    other = Thread(target=mailchimp.client("slow").get, args=("/ping",))
    other.start()
    try:
        mailchimp.client("slow", wait_seconds=0.1).get("/ping")
    finally:
        other.join()


code_location = dg.Definitions.merge(
    build_defs(clients_from_environment()),
    dg.Definitions(assets=[of_several_lists, with_a_query, of_nothing, beside_another]),
)
