"""Which base an image stands on: candidates from the index, evidence, names and confidence."""
