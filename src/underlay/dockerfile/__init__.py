"""The Dockerfile language: parsing, expansion, instructions as values, checks. No input or output."""
