"""Our mount as a process of its own, made as the agent makes it.

Usage: python -m benchmarks.mounts.ours MOUNTPOINT CACHE PORT CONTAINER read|write
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from benchmarks.address import EMULATOR_ACCOUNT, EMULATOR_KEY, Address
from datastores.credentials.kinds import AccountKey
from datastores.definitions import BlobContainer
from datastores.names import DatastoreName
from datastores.secret import Secret
from datastores.storage.open import open_store
from mount import adapters
from mount.cache import NodeCache
from mount.fs.file_system import StoreFileSystem
from mount.fs.kept import allow_many_files
from mount.fs.spool import Spool
from mount.fs.view import MountView
from mount.fuse.options import MountOptions

_QUOTA_BYTES = 64 << 30


def main(mountpoint: str, cache_folder: str, port: str, container: str, way: str) -> None:
    """Serve until unmounted."""
    allow_many_files()
    folder = Path(cache_folder)
    folder.mkdir(parents=True, exist_ok=True)
    definition = BlobContainer(
        name=DatastoreName.parse("benchmark"),
        container=container,
        account=EMULATOR_ACCOUNT,
        endpoint=Address(int(port), container).account_url,
    )
    store = open_store(definition, AccountKey(Secret(EMULATOR_KEY)))
    cache = NodeCache.open(folder / "cache", quota_bytes=_QUOTA_BYTES, reserve_bytes=0)
    view = MountView(read_only=way == "read", owner=os.getuid(), group=os.getgid())
    files = StoreFileSystem(store, cache, view, Spool.open(folder / "spool"))
    options = MountOptions(read_only=view.read_only)
    try:
        adapters.mount(files, mountpoint, options=options).serve()
    finally:
        cache.close()
        store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
