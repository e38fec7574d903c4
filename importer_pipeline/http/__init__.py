"""One HTTP request sent, its answer read whole within bounds, and every way to fail put into one word.

Stays out: what an answer means. The only room that imports `requests` and `urllib3`. May import nothing but the root.
"""
