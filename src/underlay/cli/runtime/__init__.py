"""The command line of the OCI runtime: runc's words, for podman, containerd, docker and people."""
