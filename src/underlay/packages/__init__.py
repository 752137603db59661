"""Installed packages: the databases that name them, the order of their versions, and lists of them (bills of materials)."""
