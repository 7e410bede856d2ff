"""The ways to the kernel, and which of them this host has."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Protocol

from datastores.value import Value
from mount.errors import MountRefused
from mount.fs.contract import FileSystem
from mount.fuse import device
from mount.fuse import mounted as direct
from mount.fuse.options import MountOptions
from mount.libfuse import mounted as libfuse

# One of the names below, for hosts where the first one that can be had is not the best.
VARIABLE = "DATASTORES_FUSE_ADAPTER"


class Figures(Protocol):
    """What an adapter has counted."""

    @property
    def defects(self) -> int:
        """Calls that failed because of an error of this program."""


class Mounted(Protocol):
    """What every adapter's mount can do."""

    @property
    def mountpoint(self) -> str: ...

    @property
    def passthrough(self) -> bool:
        """Whether the kernel reads complete files by itself."""

    @property
    def figures(self) -> Figures:
        """What the adapter has counted."""

    def start(self) -> None:
        """Serve in a thread."""

    def serve(self) -> None:
        """Answer until the mount is gone."""

    def wait(self, seconds: float) -> bool:
        """Whether the mount is gone and the file system has stopped, within so many seconds."""

    def unmount(self, *, lazy: bool = False) -> None:
        """Take the mount away; with files open it is refused, unless it is lazy."""

    def abort(self) -> bool:
        """Make the kernel give up: every caller in the mount gets an error."""


class _Mount(Protocol):
    def __call__(
        self, filesystem: FileSystem, mountpoint: str, *, options: MountOptions
    ) -> Mounted: ...


class Adapter(Value):
    """One way: `why_not` is the reason why this host does not have it, for a given folder."""

    name: str
    mount: _Mount
    why_not: Callable[[str], str | None]


# The first one that works is taken.
ADAPTERS = {
    adapter.name: adapter
    for adapter in (
        Adapter("direct", direct.mount, device.why_not),
        Adapter("libfuse", libfuse.mount, libfuse.why_not),
    )
}


def find_adapter(mountpoint: str, environment: Mapping[str, str] | None = None) -> Adapter | str:
    """The way to mount there, or the reason why there is none."""
    wanted = (os.environ if environment is None else environment).get(VARIABLE, "")
    if wanted and wanted not in ADAPTERS:
        return f'{VARIABLE} is "{wanted}"; set it to one of: {", ".join(ADAPTERS)}'
    reasons: dict[str, str] = {}
    for adapter in [ADAPTERS[wanted]] if wanted else ADAPTERS.values():
        reason = adapter.why_not(mountpoint)
        if reason is None:
            return adapter
        reasons[adapter.name] = reason
    return describe_refusals(reasons)


def mount(filesystem: FileSystem, mountpoint: str, *, options: MountOptions) -> Mounted:
    """A new mount, not served yet, by the adapter that this host has."""
    found = find_adapter(mountpoint)
    if isinstance(found, str):
        raise MountRefused(mountpoint, found)
    return found.mount(filesystem, mountpoint, options=options)


def describe_refusals(reasons: Mapping[str, str]) -> str:
    """Why no adapter works, in one sentence: what they agree on once, else one after the other."""
    if len(set(reasons.values())) == 1:
        return next(iter(reasons.values()))
    first, *others = (f"{name}: {reason}" for name, reason in reasons.items())
    return "; ".join([first, *others])
