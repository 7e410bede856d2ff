"""What a node has and lacks, in words."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from datastores.contract import LeaseSpec
from datastores.definitions import Definition
from datastores.errors import DatastoresError
from datastores.storage.contract import Patience
from datastores.value import Value
from mount.fuse.device import HELPERS
from mount.host.opening import open_with

_GIB = 1 << 30
_LOW_BYTES = 5 * _GIB
# The kernel from which a mount hands whole files to the kernel and costs nothing to read.
_PASSTHROUGH = (6, 9)
# Where a virtual processor that has nothing to do is told to watch for work before it sleeps.
_WATCHING = Path("/sys/module/haltpoll/parameters/guest_halt_poll_ns")
_DRIVER = Path("/sys/devices/system/cpu/cpuidle/current_driver")
# A warm open of a small file by a single reader took 135 us with 0 and 45 to 58 us with this.
_WATCHING_NS = 200_000
# A storage service refuses requests that are signed with a clock this far off.
_CLOCK_SECONDS = 15 * 60
# Somebody waits before a screen.
_BRIEF = Patience(attempts=2, read_seconds=20.0, total_seconds=30.0)


class Finding(Value):
    """One fact; `cost` says what it means for jobs, and what to do about it."""

    what: str
    found: str
    is_good: bool
    cost: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def examine(
    folder: Path, fuse: Path = Path("/dev/fuse"), watching: Path = _WATCHING
) -> list[Finding]:
    """Everything worth knowing before the first job; looks only, changes nothing."""
    looks: list[Callable[[], Finding]] = [
        lambda: _device(fuse),
        _mounting_right,
        _kernel,
        lambda: _idle(watching),
        lambda: _disk(folder),
        _memory,
        lambda: _clock(folder),
        _python,
    ]
    return [look() for look in looks]


def visit(definition: Definition, place: str, lease: LeaseSpec | None) -> Finding:
    """Whether this node reaches a store with the credential that a job would have."""
    what, begun = f"datastore {definition.name}", time.monotonic()
    try:
        with closing(open_with(definition, lease, _BRIEF)) as store:
            store.check()
            next(iter(store.list_folder(place)), None)
    except DatastoresError as error:
        cost = "jobs with it as an input or output are refused before anything moves"
        return Finding(what, str(error), is_good=False, cost=cost)
    took = time.monotonic() - begun
    return Finding(what, f"{definition.display} answers within {took:.1f} s", is_good=True)


def _device(fuse: Path) -> Finding:
    cost = "mounts become downloads at the same paths; load the module fuse, or give the container the device"
    if not fuse.exists():
        return Finding("fuse", f"no {fuse}", is_good=False, cost=cost)
    if not os.access(fuse, os.R_OK | os.W_OK):
        return Finding("fuse", f"{fuse} may not be opened", is_good=False, cost=cost)
    return Finding("fuse", str(fuse), is_good=True)


def _mounting_right() -> Finding:
    if os.geteuid() == 0:
        return Finding("right to mount", "root", is_good=True)
    helper = next(filter(None, map(shutil.which, HELPERS)), None)
    if helper:
        cost = "mounts are not as fast as root's: large files that are cached are read through the agent"
        return Finding("right to mount", helper, is_good=True, cost=cost)
    cost = "mounts become downloads at the same paths; install fuse3, or run as root"
    return Finding("right to mount", "neither root nor fusermount3", is_good=False, cost=cost)


def _kernel() -> Finding:
    release = platform.release()
    numbers = [int(part) for part in release.split("-")[0].split(".")[:2] if part.isdigit()]
    if tuple(numbers) >= _PASSTHROUGH:
        return Finding("kernel", release, is_good=True)
    cost = (
        "cached files are read through the agent; 6.9 and newer read them at the speed of the disk"
    )
    return Finding("kernel", release, is_good=False, cost=cost)


def _idle(watching: Path) -> Finding:
    what = "idle processors"
    try:
        watches_ns = int(watching.read_text())
        is_watcher = _DRIVER.read_text().strip() == "haltpoll"
    except (OSError, ValueError):
        return Finding(what, "left to the host", is_good=True)
    if watches_ns or not is_watcher:
        return Finding(what, f"watch for work for {watches_ns} ns", is_good=True)
    cost = (
        "a single reader of small cached files waits two to three times as long for each;"
        f" as root: echo {_WATCHING_NS} > {watching}"
    )
    return Finding(what, "sleep at once", is_good=False, cost=cost)


def _disk(folder: Path) -> Finding:
    place = folder if folder.exists() else Path.cwd()
    free = shutil.disk_usage(place).free
    found = f"{free / _GIB:.1f} GiB free at {place}"
    if free >= _LOW_BYTES:
        return Finding("disk", found, is_good=True)
    cost = "downloads, results and the cache share it; free some space, or choose another --folder"
    return Finding("disk", found, is_good=False, cost=cost)


def _memory() -> Finding:
    shared = Path(os.environ.get("XDG_RUNTIME_DIR") or "/dev/shm")  # noqa: S108  # looked at only
    if os.access(shared, os.W_OK):
        return Finding("memory for leases", str(shared), is_good=True)
    cost = "after a crash of the agent, resume wants the job spec again"
    return Finding("memory for leases", f"{shared} cannot be written", is_good=False, cost=cost)


def _clock(folder: Path) -> Finding:
    """The clock against the newest thing in sight that somebody else has dated."""
    now = time.time()
    dated = max(
        (
            path.stat().st_mtime
            for path in (folder, Path("/etc"), Path(sys.prefix))
            if path.exists()
        ),
        default=now,
    )
    found = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
    if dated - now <= _CLOCK_SECONDS:
        return Finding("clock", found, is_good=True)
    cost = "it runs behind files on this disk; services refuse signatures of a wrong clock, set it"
    return Finding("clock", found, is_good=False, cost=cost)


def _python() -> Finding:
    return Finding("python", f"{platform.python_version()} at {sys.executable}", is_good=True)
