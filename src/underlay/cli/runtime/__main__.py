"""Run the runtime as `python -m underlay.cli.runtime`."""

from .main import entry

entry()
