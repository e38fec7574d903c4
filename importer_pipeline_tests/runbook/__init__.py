"""Each line of `docs/runbook.md`, as the command line prints it."""
