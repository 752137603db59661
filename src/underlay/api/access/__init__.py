"""Rules that say what clients of a server may do."""
