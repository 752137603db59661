"""Builds: from a Dockerfile and a context to layers, a configuration and a name."""
