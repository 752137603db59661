"""Images between the store and archives."""
