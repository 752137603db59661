"""RUN: a program in a container of its own, its mounts and what it leaves."""
