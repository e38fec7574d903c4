"""Finds out whether clients can be imported, by a few requests that change nothing.

Stays out: showing what is found. May import clients, mailchimp, target and records.
"""
