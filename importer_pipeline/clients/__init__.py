"""Who is imported: the clients file, what can be wrong with it, where secrets are kept, and which shard a client is in.

Stays out: any request. May import records, and Mailchimp's credentials.
"""
