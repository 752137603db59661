"""Copies of images from one place to another: registries, layouts, archives, directories and the store."""
