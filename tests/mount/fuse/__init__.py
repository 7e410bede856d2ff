"""Real mounts, through the kernel."""
