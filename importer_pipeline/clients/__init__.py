"""The clients to import: the clients file, its problems, declared targets, references to secrets, and shards.

Stays out: any request. May import records, Mailchimp's credentials, and a target's declaration.
"""
