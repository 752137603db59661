"""What a container is to be: options, image and host facts become an OCI specification."""
