"""How fast the pipeline is, and what it costs, beside stated limits: `python -m benchmarks` (`make bench`)."""
