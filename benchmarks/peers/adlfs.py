"""adlfs through fsspec's `get` and `put`, as its users call them."""

from __future__ import annotations

import sys

from benchmarks.peers.peer import (
    Command,
    Direction,
    Task,
    parse_arguments,
    python_command,
    python_version,
)
from benchmarks.tools import Tools


class Adlfs:
    """fsspec's recursive copy with its own defaults."""

    name = "adlfs"
    settings = "AzureBlobFileSystem.get/put(recursive=True)"
    uses_network = True

    def version_command(self, tools: Tools) -> Command:
        return python_version(tools, "adlfs")

    def command(self, task: Task) -> Command:
        return python_command(task.tools, "adlfs", task)


def main() -> None:
    """Move the folder."""
    from adlfs import AzureBlobFileSystem

    direction, address, folder = parse_arguments(sys.argv[1:])
    system = AzureBlobFileSystem(connection_string=address.connection_string)
    if direction is Direction.DOWNLOAD:
        system.get(f"{address.container}/", f"{folder}/", recursive=True)
    else:
        system.put(f"{folder}/", f"{address.container}/", recursive=True)


if __name__ == "__main__":
    main()
