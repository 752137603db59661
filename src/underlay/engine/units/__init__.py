"""Units of systemd: containers after a boot, and a server that starts when somebody asks."""
