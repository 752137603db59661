"""`underlay buildx …`: docker's plugin of this name, as far as it is not `build` and `builder prune` themselves."""
