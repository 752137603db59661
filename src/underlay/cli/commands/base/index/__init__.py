"""Commands on the index of known bases."""
