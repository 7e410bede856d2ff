"""One suite for every adapter: what a program sees, whoever carries it to the kernel."""
