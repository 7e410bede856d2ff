"""What a program may ask of a folder; each case is asked of two folders, and the answers compared."""
