"""Runs an import: reads secrets, connects, drives the threads, writes a summary.

Stays out: Dagster. May import every room but defs and the sandbox.
"""
