"""Commands on virtual machines of containers."""
