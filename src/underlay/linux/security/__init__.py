"""The kernel's confinement of processes: seccomp, capabilities, Landlock, AppArmor."""
