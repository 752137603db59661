"""Images between the store and archives: load, save, import."""
