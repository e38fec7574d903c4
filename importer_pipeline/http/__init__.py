"""Sends one HTTP request, reads its answer completely within limits, and classifies every failure.

Stays out: the meaning of an answer. The only room that imports `requests` and `urllib3`. May import nothing but the
root.
"""
