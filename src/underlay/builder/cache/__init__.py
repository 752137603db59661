"""Results of build steps: their keys, looked up again, imported from and exported to external caches."""
