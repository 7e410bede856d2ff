"""Mounts as the agent sees them, whoever makes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from datastores.contract import LeaseSpec
from datastores.definitions import Definition
from datastores.value import Value
from mount.errors import MountRefused


class MountWish(Value):
    """A place of a store that is to appear as a file or a folder."""

    name: str
    definition: Definition
    place: str
    at: Path
    is_writable: bool
    lease: LeaseSpec | None = None
    # A folder for the versions that are opened, where somebody wants to know them.
    versions: Path | None = None


class Mounted(Protocol):
    """A mount that somebody owns until it is released."""

    def release(self, bound_seconds: float) -> None:
        """Make durable what was written, then take the mount away; twice is fine.

        `OutputFailed` when something is not in its store in time; the mount is gone all the same,
        and what was written is still on the node.
        """

    def renew(self, lease: LeaseSpec) -> None:
        """Use this credential from now on, without closing what is open.

        Never fails for the mount that is gone already.
        """

    def trouble(self) -> str | None:
        """The sentence for a credential that failed the mount's readers; None if none did."""

    def keep_versions(self, bound_seconds: float) -> None:
        """See that the wish's folder for versions has all that was opened; before the release.

        `mount.fs.version_pages` reads it. `DatastoresError` or `OSError` where it cannot have it.
        """

    def counters(self) -> Mapping[str, int | float]:
        """What the mount did so far, for the data report."""


class Mounter(Protocol):
    """Whoever can mount on this node; its methods may be called from many threads."""

    def refusal(self) -> str | None:
        """Why nothing can be mounted here; None when mounting can be tried."""

    def mount(self, wish: MountWish) -> Mounted:
        """The place at its path, ready to use; a dead mount that is in the way is cleared first.

        `MountRefused` when it cannot be mounted, other errors when the place cannot be had at all.
        """


class NoMounter(Value):
    """Mounts nothing, for one reason."""

    reason: str

    def refusal(self) -> str:
        return self.reason

    def mount(self, wish: MountWish) -> Mounted:
        raise MountRefused(str(wish.at), self.reason)
