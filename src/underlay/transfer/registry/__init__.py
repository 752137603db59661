"""Images between the store and registries: pull, push, manifest lists, removal."""
