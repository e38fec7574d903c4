"""Mailchimp's Marketing API: the requests, the meaning of each answer, and the parsing of pages for the engine.

Stays out: retries, pauses and order, which the engine decides. May import http, records, listing, and the engine's
`Page`.
"""
