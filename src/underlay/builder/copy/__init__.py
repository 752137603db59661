"""COPY and ADD: which files are meant, and how they become a layer."""
