"""The second adapter: any file system behind libfuse 2, through fuse-python."""
