"""How a listing that changes while it is paged is read whole: what a page proves, walks, snapshots and hours. Pure.

Stays out: requests, retries and anything about the target. May import nothing but the root.
"""
