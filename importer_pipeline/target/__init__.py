"""The target's API: its one request, and the meaning of each answer.

Stays out: retries, and which record of a batch was refused. May import http and records.
"""
