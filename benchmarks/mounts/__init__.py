"""Mounts of this project against rclone's and fsspec's, and against a local disk."""
