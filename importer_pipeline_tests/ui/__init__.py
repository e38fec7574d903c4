"""Scenarios of the pipeline in Dagster's own UI, in a browser: `make test-ui`. Plain pytest does not collect them."""
