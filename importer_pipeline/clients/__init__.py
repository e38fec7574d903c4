"""The clients to import: the clients file, its problems, references to secrets, and shards.

Stays out: any request. May import records, and Mailchimp's credentials.
"""
