"""Pieces written for start-up time: JSON, values and hashing without the imports of the standard library's own."""
