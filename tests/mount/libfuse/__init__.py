"""What only the libfuse adapter does; `tests/mount/adapters` has what every adapter must."""
