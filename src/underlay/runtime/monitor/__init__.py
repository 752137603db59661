"""The monitor of a container: the process that starts it, keeps its log, waits for its end and cleans up."""
