"""Watches the bases that the images of a scan stand on: what has moved, what advisories say of them, what to rebuild."""
