"""Which request comes next, and what an answer means for what is still to do. Pure: no HTTP, no Dagster, no clock.

Stays out: who sends a request, and what the time is: both are handed in, so that the simulation can drive the engine
through any order of events. May import records and listing.
"""
