"""Taking over what docker or podman has: images, volumes, containers. Theirs is only read."""
