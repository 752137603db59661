"""The kernel's facilities, one module each: thin typed calls, errors with operation and path."""
