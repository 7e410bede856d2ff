"""A supervised mount whose servers die on command.

Usage: python -m tests.mount.fuse.healing MOUNTPOINT STATE FATAL
STATE is a folder that outlives the servers: `cache` below it holds the complete files, `lives`
gets one line per server. FATAL is the operation that kills the first server, "all" if it kills
every one, "none" if they live. Files beside "f" are kept by the first server alone.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from mount.fuse.journal import OpenHandle
from mount.fuse.options import MountOptions
from mount.fuse.passthrough import INODE_MASK
from mount.fuse.supervisor import Line, resume, supervise
from tests.mount.memory_filesystem import Handle, MemoryFileSystem

MANY_LOOKUPS = 1 << 20


def main(place: str, state: str, fatal: str) -> None:
    """Supervise until unmounted."""

    def worker(line: Line) -> None:
        _serve(line, Path(state), fatal)

    restarts = supervise(place, worker, options=MountOptions())
    (Path(state) / "end").write_text(str(restarts))


def _serve(line: Line, state: Path, fatal: str) -> None:
    filesystem = MemoryFileSystem()
    for name in ("f", "g", "h"):
        node = filesystem.add(name, f"the bytes of {name}".encode())
        node.modified_ns = node.changed_ns = 1_000_000_000
        node.lookups = MANY_LOOKUPS * bool(line.life)
    filesystem.behaviour.backing = state / "cache" if (state / "cache").exists() else None
    filesystem.root.lookups += MANY_LOOKUPS

    def before(name: str) -> None:
        dies = fatal == "all" or (name == fatal and not line.life)
        if dies and name != "statfs":
            os.kill(os.getpid(), signal.SIGKILL)

    def recover(handles: Sequence[OpenHandle]) -> None:
        for handle in handles:
            node = filesystem.nodes[handle.node & INODE_MASK]
            listing = list(node.children.items()) if handle.is_folder else []
            filesystem.handles[handle.handle] = Handle(node, handle.access, listing=listing)
        filesystem.skip_handles(1000 * line.life)

    filesystem.behaviour.before = before
    mounted = resume(filesystem, line, options=MountOptions(), recover=recover)
    with (state / "lives").open("a") as lives:
        lives.write(f"{os.getpid()}\n")
    mounted.serve()
    (state / f"rules{line.life}").write_text(json.dumps(filesystem.broken_rules))
    (state / f"modes{line.life}").write_text(str(len(mounted.modes.modes())))


if __name__ == "__main__":
    main(*sys.argv[1:])
