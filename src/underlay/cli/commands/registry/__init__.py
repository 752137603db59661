"""Commands that talk to registries: pull, push, copy, sync, log in."""
