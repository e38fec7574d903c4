"""One sync at a time for each account, and a lock that shows whether a run is alive: in files, or in Postgres.

Stays out: who takes which lock when. May import nothing but the root.
"""
