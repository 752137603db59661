"""Bake files: several builds described in HCL, JSON or by compose files, as words of `build` (docker's Bake reference)."""
