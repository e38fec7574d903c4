"""The target's API: the default protocol and declared ones, their requests, and the meaning of each answer.

Stays out: retries, and which record of a batch was refused. May import http and records.
"""
