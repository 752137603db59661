"""The processes that do a build's work, and their jobs."""
