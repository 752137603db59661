"""The Dockerfile of an image, reconstructed from its history and layers."""
