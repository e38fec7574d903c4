"""Reads a listing completely while it changes: the proof of a page, walks, snapshots and hours. Pure.

Stays out: requests, retries and anything about the target. May import nothing but the root.
"""
