"""Measures underlay beside the rivals that are installed, interleaved, in one run."""
