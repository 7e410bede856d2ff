"""Folders through the kernel: listings of any length, and names that hurt."""

from __future__ import annotations

import subprocess

from mount.fs.contract import Kind
from tests.mount.adapters.mounting import Mount
from tests.mount.memory_filesystem import Node


def test_attributes_come_with_the_listing(memory: Mount) -> None:
    """`ls -l` of a folder looks no name up: the listing brought the attributes."""
    _fill(memory, 2_000)

    listed = subprocess.run(
        ["ls", "-lU", memory.path / "many"], capture_output=True, text=True, timeout=60, check=True
    )

    assert len(listed.stdout.splitlines()) == 2_001
    # READDIRPLUS is adaptive: the kernel begins with it and goes on while somebody stats.
    assert memory.filesystem.calls["lookup"] <= 200
    assert memory.filesystem.calls["remember"] > 0


def _fill(memory: Mount, count: int) -> list[bytes]:
    folder = memory.filesystem.add("many/first", b"").inode
    parent = memory.filesystem.find("many")
    names = [b"first", *(b"name %07d" % n for n in range(1, count))]
    for at, name in enumerate(names[1:], folder + 1):
        node = Node(10_000 + at, Kind.FILE, 0o644)
        memory.filesystem.nodes[node.inode] = node
        parent.children[name] = node
    return names
