"""Commands that look at containers, or work in running ones."""
