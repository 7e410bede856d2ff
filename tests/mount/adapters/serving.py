"""A mount served by a process of its own, so that it can be killed.

Usage: python -m tests.mount.adapters.serving MODULE MOUNTPOINT
Serves one file, "f", through the adapter of that module, and says "ready" when it is mounted.
"""

from __future__ import annotations

import importlib
import sys

from mount.fuse.options import MountOptions
from tests.mount.memory_filesystem import MemoryFileSystem


def main(module: str, place: str) -> None:
    """Mount and serve until killed or unmounted."""
    filesystem = MemoryFileSystem()
    filesystem.add("f", b"served")
    mount = importlib.import_module(module).mount
    mounted = mount(filesystem, place, options=MountOptions())
    print("ready", flush=True)  # noqa: T201 - the test waits for it
    mounted.serve()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
