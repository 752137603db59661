"""BuildKit's build caches: the keys by which it finds results of steps, and the form in which it keeps them elsewhere."""
