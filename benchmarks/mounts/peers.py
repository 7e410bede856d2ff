"""Who is measured, each with the settings that serve it best on this work."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.address import Address
from benchmarks.mounts.tools import MountTools
from benchmarks.peers.peer import Command

_RCLONE = (
    "--dir-cache-time=1h",
    "--poll-interval=0",
    "--attr-timeout=60s",
    "--transfers=16",
    "--buffer-size=16M",
)
# Uploads begin when a file is closed: the clock runs until the store has it.
_RCLONE_FULL = ("--vfs-cache-mode=full", "--vfs-write-back=0s", "--vfs-cache-max-size=off")


@dataclass(frozen=True, slots=True)
class Setting:
    """One mount: where, of what, and what the peer may use beside it."""

    address: Address
    mountpoint: Path
    # On the disk that the floor is measured on.
    cache: Path
    tools: MountTools
    writable: bool


@dataclass(frozen=True, slots=True)
class MountPeer:
    """One program; without a command it is the floor, a folder on the local disk."""

    name: str
    settings: str
    command: Callable[[Setting], Command] | None = None
    # Whether it can be asked to write, and to serve mappings.
    takes_writes: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)


def _ours(adapter: str) -> Callable[[Setting], Command]:
    def command(setting: Setting) -> Command:
        return Command(
            [
                *(str(setting.tools.common.python), "-m", "benchmarks.mounts.ours"),
                *(str(setting.mountpoint), str(setting.cache), str(setting.address.port)),
                *(setting.address.container, "write" if setting.writable else "read"),
            ],
            {"DATASTORES_FUSE_ADAPTER": adapter, **setting.tools.environment},
        )

    return command


def _rclone(*flags: str) -> Callable[[Setting], Command]:
    def command(setting: Setting) -> Command:
        return Command(
            [
                *(str(setting.tools.common.rclone), "mount"),
                *(f":azureblob:{setting.address.container}", str(setting.mountpoint)),
                *(f"--cache-dir={setting.cache}", *_RCLONE, *flags),
                *(() if setting.writable else ("--read-only",)),
            ],
            {
                **setting.tools.environment,
                "RCLONE_CONFIG": "/dev/null",
                "RCLONE_AZUREBLOB_SAS_URL": f"{setting.address.container_url}?{setting.address.sas}",
            },
        )

    return command


def _fsspec(setting: Setting) -> Command:
    return Command(
        [
            *(str(setting.tools.common.python), "-m", "benchmarks.mounts.fsspec_mount"),
            *(str(setting.mountpoint), str(setting.address.port), setting.address.container),
        ],
        setting.tools.fusepy_environment,
    )


OURS, FLOOR, RCLONE = "datastores", "local", "rclone-full"

PEERS = {
    peer.name: peer
    for peer in (
        MountPeer(OURS, "StoreFileSystem, defaults; direct adapter", _ours("direct")),
        MountPeer(
            "datastores-libfuse", "StoreFileSystem, defaults; libfuse adapter", _ours("libfuse")
        ),
        MountPeer(
            RCLONE,
            "rclone mount " + " ".join((*_RCLONE, *_RCLONE_FULL)),
            _rclone(*_RCLONE_FULL),
        ),
        MountPeer(
            "rclone-none",
            "rclone mount " + " ".join((*_RCLONE, "--vfs-cache-mode=off")),
            _rclone("--vfs-cache-mode=off"),
        ),
        MountPeer("fsspec", "fsspec.fuse over adlfs, without threads", _fsspec, takes_writes=False),
        MountPeer(FLOOR, f"a folder on the local disk, {sys.platform}"),
    )
}
DEFAULT_PEERS = tuple(name for name in PEERS if name != "datastores-libfuse")
