"""Processes of a container: cloned, given their operations, joined, reaped."""
