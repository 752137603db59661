"""Containers of OCI bundles, without image, engine or monitor: what the program `underlay-runtime` works on."""
