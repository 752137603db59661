"""Default policy of containers: capabilities, paths, devices, the seccomp and AppArmor profiles."""
