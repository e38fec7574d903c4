"""A Mailchimp and a target as unkind as the real ones: for a first run, the simulation, tests and benchmarks."""
