"""The command line: how the engine is asked and its answers shown."""
