"""What the kernel offers, one module a facility: thin typed calls, errors with operation and path."""
