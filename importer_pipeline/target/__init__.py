"""The target's API: the one request, and the meaning of each answer.

Out of here: tries, and which record of a batch was refused. May import http and records.
"""
