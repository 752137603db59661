"""Rows of the database: images, containers, networks, volumes, ranges of ids, the build cache."""
