"""What programs do with a folder: each function is run by a process of its own."""
