"""Decides which request comes next, and what an answer means for the work that is left. Pure: no HTTP, no Dagster, no
clock.

Stays out: sending requests and reading the clock. The time and the answers are passed in, so that the simulation can
drive the engine through any order of events. May import records and listing.
"""
