"""A specification becomes a process: plan, monitor, init, exit status."""
