"""Containers of OCI bundles, without image, engine or monitor: what a runtime's command line works on."""
