"""What is under an image: its base, and what is known against it."""
