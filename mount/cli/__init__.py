"""`datastores-agent`: jobs and mounts on a compute node."""

from mount.cli.entry import cli, main, run

__all__ = ["cli", "main", "run"]
