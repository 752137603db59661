"""What a container's monitor gets to work with: JSON records, made of what is recorded of the container."""
