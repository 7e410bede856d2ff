"""azure-storage-blob with a pool of threads: what a careful person writes by hand."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.peers.peer import (
    Command,
    Direction,
    Task,
    parse_arguments,
    python_command,
    python_version,
)
from benchmarks.tools import Tools
from benchmarks.workloads import files_below

_THREADS = 16
_PARTS = 4


class AzureSdk:
    """One client per container, a thread per file, a few parts of a large file at once."""

    name = "azure-sdk"
    settings = f"{_THREADS} threads, max_concurrency={_PARTS}"
    uses_network = True

    def version_command(self, tools: Tools) -> Command:
        return python_version(tools, "azure-storage-blob")

    def command(self, task: Task) -> Command:
        return python_command(task.tools, "azure_sdk", task)


def main() -> None:
    """Move the folder."""
    from azure.storage.blob import ContainerClient

    direction, address, folder = parse_arguments(sys.argv[1:])

    def fetch(name: str) -> None:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            client.download_blob(name, max_concurrency=_PARTS).readinto(file)

    def send(item: tuple[str, Path]) -> None:
        with item[1].open("rb") as file:
            client.upload_blob(item[0], file, max_concurrency=_PARTS, overwrite=True)

    with (
        ContainerClient.from_connection_string(
            address.connection_string, address.container
        ) as client,
        ThreadPoolExecutor(_THREADS) as pool,
    ):
        if direction is Direction.DOWNLOAD:
            done = pool.map(fetch, client.list_blob_names())
        else:
            done = pool.map(send, files_below(folder).items())
        for _ in done:
            pass


if __name__ == "__main__":
    main()
