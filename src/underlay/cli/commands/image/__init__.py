"""Commands on images of the store: list, build, load, save, tag, remove."""
