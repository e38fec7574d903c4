"""Mailchimp's Marketing API: the requests, the meaning of each answer, and pages opened for the engine.

Out of here: tries, pauses and order, which the engine decides. May import http, records, listing, and the engine's `Page`.
"""
