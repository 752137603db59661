"""Bases that no index knows, told by their own marks: the variables, commands and words that their steps set."""
