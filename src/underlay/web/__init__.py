"""The site of `underlay web`: every image's Dockerfile, layers, lineage and risks, in a browser."""
