"""A Mailchimp and a target on this machine, as faulty as the real ones: for the demo, and for tests.

Out of here: anything that the importer itself needs. May import clients and listing; nothing imports it.
"""
