"""What Dagster sees: assets, jobs, ops, resources, schedules and sensors, and the event log as the importer's memory.

Stays out: how an import is carried out. The only room that imports Dagster. May import every room but the sandbox.
"""
