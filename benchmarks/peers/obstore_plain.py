"""obstore with a pool of threads and nothing else: no journal, no checks, no second attempt of ours.

The engine stands on obstore, so the distance to this peer is what its guarantees cost.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.address import EMULATOR_ACCOUNT, EMULATOR_KEY, Address
from benchmarks.peers.peer import (
    Command,
    Direction,
    Task,
    parse_arguments,
    python_command,
    python_version,
)
from benchmarks.tools import Tools
from benchmarks.workloads import MIB, files_below

if TYPE_CHECKING:
    from obstore.store import AzureStore

_THREADS = 16
_PART = 4 * MIB
_WHOLE = 8 * MIB


class ObstorePlain:
    """Threads that get or put; large files in parts."""

    name = "obstore-plain"
    settings = f"{_THREADS} threads, parts of {_PART // MIB} MiB"
    uses_network = True

    def version_command(self, tools: Tools) -> Command:
        return python_version(tools, "obstore")

    def command(self, task: Task) -> Command:
        return python_command(task.tools, "obstore_plain", task)


def main() -> None:
    """Move the folder."""
    direction, address, folder = parse_arguments(sys.argv[1:])
    store = _open(address)
    with ThreadPoolExecutor(_THREADS) as pool:
        started = (
            _download(store, folder, pool)
            if direction is Direction.DOWNLOAD
            else _upload(store, folder, pool)
        )
        for future in started:
            future.result()


def _open(address: Address) -> AzureStore:
    from obstore.store import AzureStore

    return AzureStore(
        container_name=address.container,
        account_name=EMULATOR_ACCOUNT,
        account_key=EMULATOR_KEY,
        endpoint=address.account_url,
        client_options={"allow_http": True},
    )


def _download(store: AzureStore, folder: Path, pool: ThreadPoolExecutor) -> list[Future[None]]:
    started: list[Future[None]] = []
    for page in store.list(chunk_size=1000):
        for blob in page:
            target = folder / blob["path"]
            target.parent.mkdir(parents=True, exist_ok=True)
            size = blob["size"]
            if size <= _WHOLE:
                started.append(pool.submit(_fetch_whole, store, blob["path"], target))
                continue
            with target.open("wb") as file:
                os.truncate(file.fileno(), size)
            for start in range(0, size, _PART):
                end = min(size, start + _PART)
                started.append(pool.submit(_fetch_part, store, blob["path"], target, start, end))
    return started


def _fetch_whole(store: AzureStore, path: str, target: Path) -> None:
    with target.open("wb", buffering=0) as file:
        for piece in store.get(path).stream(min_chunk_size=256 * 1024):
            file.write(piece)


def _fetch_part(store: AzureStore, path: str, target: Path, start: int, end: int) -> None:
    with target.open("r+b", buffering=0) as file:
        file.seek(start)
        file.write(store.get_range(path, start=start, end=end))


def _upload(store: AzureStore, folder: Path, pool: ThreadPoolExecutor) -> list[Future[None]]:
    return [pool.submit(_send, store, name, path) for name, path in files_below(folder).items()]


def _send(store: AzureStore, name: str, path: Path) -> None:
    store.put(
        name,
        path,
        use_multipart=path.stat().st_size > _WHOLE,
        chunk_size=_PART,
        max_concurrency=_THREADS,
    )


if __name__ == "__main__":
    main()
