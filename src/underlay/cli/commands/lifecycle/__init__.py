"""Commands that change what a container does: create, run, start, stop, update, remove."""
