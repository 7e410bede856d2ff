"""Hosts under test: their folders, their stores, their deaths."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datastores.contract import LeaseSpec
from datastores.definitions import Definition, LocalFolder
from datastores.names import DatastoreName
from mount.fuse import device
from mount.fuse.mounts import find_mount
from mount.host.folder import HostFolder
from mount.host.host import Host
from mount.host.order import MountOrder
from mount.host.start import start_host

SECONDS = 60.0


@dataclass(slots=True)
class Bench:
    """One place for everything; `definition` is a local folder unless a test brings another."""

    root: Path
    definition: Definition
    lease: LeaseSpec | None = None
    started: list[Path] = field(default_factory=list)

    @classmethod
    def make(cls, root: Path) -> Bench:
        (root / "store").mkdir(parents=True)
        return cls(root, LocalFolder(DatastoreName("local"), str(root / "store")))

    @property
    def at(self) -> Path:
        return self.root / "at"

    @property
    def store(self) -> Path:
        return self.root / "store"

    def order(self, **changes: Any) -> MountOrder:
        settings: dict[str, Any] = {
            "name": "data",
            "definition": self.definition,
            "place": "",
            "at": self.at,
            "cache": self.root / "cache",
            "cache_quota_bytes": 1 << 30,
            "cache_reserve_bytes": 0,
            "spool": self.root / "spool",
            "read_only": False,
            # Most deaths are the test's own here, not a sign that it will not get better.
            "most_restarts": 30,
            "lease": self.lease,
        }
        return MountOrder(**(settings | changes))

    def start(self, name: str = "host", **changes: Any) -> Host:
        folder = self.root / name
        self.started.append(folder)
        return start_host(self.order(**changes), folder)

    def end(self) -> None:
        """Whatever a test left is killed and unmounted."""
        for folder in self.started:
            for pid in HostFolder(folder).holders():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            until(lambda folder=folder: not HostFolder(folder).is_taken)  # type: ignore[misc]  # bound now
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        for place in [line.split()[4] for line in lines if f" {self.root}/" in line]:
            device.unmount(place, lazy=True)


def kill_worker(host: Host) -> int:
    """SIGKILL for the process that serves; its number."""
    worker = host.status().worker
    os.kill(worker, signal.SIGKILL)
    return worker


def kill_host(host: Host) -> None:
    """SIGKILL for supervisor and worker at once, as the kernel's memory killer may."""
    folder = HostFolder(host.folder)
    for pid in (host.status().pid, *folder.holders()):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until(lambda: not folder.is_taken)


def names(folder: Path) -> list[str]:
    """What a folder lists, sorted."""
    return sorted(path.name for path in folder.iterdir())


def is_mounted(place: Path) -> bool:
    return find_mount(str(place)) is not None


def until(reached: Callable[[], bool], seconds: float = SECONDS) -> None:
    """Wait for what another process does, of which nothing tells."""
    deadline = time.monotonic() + seconds
    while not reached() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert reached()
