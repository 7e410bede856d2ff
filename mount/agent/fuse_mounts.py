"""The agent's mounts through FUSE: a store's file system, the node's cache, a spool for writes."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

from datastores.storage.contract import Patience, Store
from datastores.storage.open import open_store
from datastores.storage.verbs import exists
from mount.agent.mounting import MountWish
from mount.agent.opening import credential_of
from mount.cache import NodeCache
from mount.errors import MountRefused, OutputFailed
from mount.fs.file_system import StoreFileSystem
from mount.fs.recovery import Outcome, recover
from mount.fs.spool import Spool
from mount.fs.view import MountView
from mount.fuse import device
from mount.fuse.mounted import Mounted, mount
from mount.fuse.options import MountOptions

CACHE_VARIABLE = "DATASTORES_CACHE"
# Of the disk that holds the cache: jobs come and go, and the disk belongs to others as well.
_QUOTA_SHARE, _RESERVE_SHARE = 0.5, 0.05


def cache_folder() -> Path:
    """The node's cache: `$DATASTORES_CACHE`, or this user's cache folder."""
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return Path(given).expanduser().absolute()
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "datastores" / "files"


@dataclass(frozen=True)
class FuseMounter:
    """Mounts of one process; what a dead store refused stays below `spools`."""

    spools: Path
    cache_at: Path = field(default_factory=cache_folder)
    patience: Patience = field(default_factory=Patience)

    def refusal(self) -> str | None:
        with tempfile.TemporaryDirectory(prefix="datastores-trial-") as trial:
            return device.why_not(trial)

    def mount(self, wish: MountWish) -> FuseMount:
        device.repair(str(wish.at))
        store = open_store(
            wish.definition, credential_of(wish.definition, wish.lease), self.patience
        )
        try:
            _refuse_single_file(wish, store)
            return self._mounted(wish, store)
        except BaseException:
            store.close()
            raise

    def _mounted(self, wish: MountWish, store: Store) -> FuseMount:
        wish.at.mkdir(parents=True, exist_ok=True)
        view = MountView(
            read_only=not wish.is_writable, place=wish.place, owner=os.getuid(), group=os.getgid()
        )
        spool = Spool.open(self.spools / wish.name)
        files = StoreFileSystem(store, self._cache, view, spool)
        options = MountOptions(source=wish.definition.display, read_only=view.read_only)
        made = mount(files, str(wish.at), options=options)
        made.start()
        return FuseMount(wish, made, files, store, spool)

    @cached_property
    def _cache(self) -> NodeCache:
        self.cache_at.mkdir(parents=True, exist_ok=True)
        total = shutil.disk_usage(self.cache_at).total
        return NodeCache.open(
            self.cache_at,
            quota_bytes=int(total * _QUOTA_SHARE),
            reserve_bytes=int(total * _RESERVE_SHARE),
        )


def _refuse_single_file(wish: MountWish, store: Store) -> None:
    if wish.place and exists(store, wish.place):
        raise MountRefused(str(wish.at), "it is a single file, which is copied")


@dataclass(frozen=True, slots=True)
class FuseMount:
    """One mount, served by threads of this process."""

    wish: MountWish
    mounted: Mounted
    files: StoreFileSystem
    store: Store
    spool: Spool

    def release(self, bound_seconds: float) -> None:
        """Take the mount away, send what was written and not yet stored, name what was not."""
        device.repair(self.mounted.mountpoint)
        if not self.mounted.wait(0):
            self.mounted.unmount(lazy=True)
            if not self.mounted.wait(bound_seconds):
                self.mounted.abort()
                self.mounted.wait(bound_seconds)
        left = [one for one in recover(self.spool, self.store) if one.outcome is not Outcome.STORED]
        self.store.close()
        if left:
            names = ", ".join(f'"{one.key or one.path.name}"' for one in left[:5])
            raise OutputFailed(
                self.wish.name, f"{names} did not arrive; the bytes are in {left[0].path.parent}"
            )

    def counters(self) -> Mapping[str, int | float]:
        return {**asdict(self.files.counters()), "passthrough": self.mounted.passthrough}
