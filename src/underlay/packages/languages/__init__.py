"""Packages of programming languages: the metadata that their package managers and compilers leave in an image."""
