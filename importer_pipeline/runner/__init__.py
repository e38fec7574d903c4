"""Runs an import: reads secrets, connects, drives the threads, writes a summary.

Keep out: Dagster. May import every room but defs and the sandbox.
"""
