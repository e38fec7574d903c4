"""A contact as Mailchimp sends it, the record that the target takes, and the mapping between them.

Stays out: how contacts are fetched and how records are sent. May import nothing but the root.
"""
