"""The command line: what a person asks before, during and after syncs, from a terminal.

What it prints may be personal data, and goes to standard output only. Stays out: how syncs run, and any import of
Dagster that the command does not need. May import all rooms but runner, locks, http and sandbox.
"""
