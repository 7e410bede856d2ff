"""Files and folders over a store: inodes, handles, reading, writing. Knows no FUSE."""
