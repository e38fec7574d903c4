"""An import carried out: secrets read, connections made, threads driven, a summary written.

Out of here: Dagster. May import every room but defs and the sandbox.
"""
