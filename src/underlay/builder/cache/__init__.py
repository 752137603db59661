"""Results of build steps: their keys, found again, brought from and given to places outside."""
