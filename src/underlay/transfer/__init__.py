"""Images between the store, registries and archives."""
