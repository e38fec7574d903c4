"""Dagster's own UI in a browser, as a user meets the pipeline there: `make test-ui`. Plain pytest passes the scenarios by."""
