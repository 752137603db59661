"""The kernel's file systems: mounts, paths beneath a root, loop devices, quotas."""
