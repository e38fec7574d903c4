"""A Mailchimp and a target on this machine, as faulty as the real ones: for the demo, and for tests.

Stays out: anything that the importer itself needs. May import clients and listing; nothing imports it.
"""
