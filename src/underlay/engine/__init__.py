"""Use cases: the public Python interface."""
