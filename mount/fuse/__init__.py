"""Adapters between the kernel and a file system: the kernel's own protocol, and libfuse's."""
