"""Speed and cost of the pipeline, beside stated limits: `python -m benchmarks` (`make bench`)."""
