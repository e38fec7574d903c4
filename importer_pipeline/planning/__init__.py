"""Decides what to read, based on what earlier runs recorded: snapshots, the chain of hours, the quarantine. Pure.

Stays out: storage, which is behind the protocol `History`. May import engine, listing and records.
"""
