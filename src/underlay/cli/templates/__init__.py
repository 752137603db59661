"""Go templates of --format: parsed, and filled with values as docker shows them."""
