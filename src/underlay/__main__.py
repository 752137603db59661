"""Run the command line as `python -m underlay`."""

from .cli.main import entry

if __name__ == "__main__":
    entry()
