"""What is to be read, from what earlier runs have left: snapshots to resume, the chain of hours, the quarantine. Pure.

Out of here: where that is kept, which is behind the protocol `History`. May import engine, listing and records.
"""
