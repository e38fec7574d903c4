"""One sync at a time for each account, and a lock that shows whether a run is alive: in files, or in Postgres.

Stays out: the decision when to take which lock. May import nothing but the root.
"""
