"""Registries: the distribution protocol over HTTP; no knowledge of the store."""
