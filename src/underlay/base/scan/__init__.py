"""Scans of fleets: what many images stand on and consist of, kept in one file that the next scan continues."""
