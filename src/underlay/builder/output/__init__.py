"""What becomes of a build's result: images, archives, directories, attestations."""
