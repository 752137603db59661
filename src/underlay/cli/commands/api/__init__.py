"""Commands that have to do with docker's clients."""
