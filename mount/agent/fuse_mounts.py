"""The agent's mounts through FUSE: a store's file system, the node's cache, a spool for writes."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

from datastores.contract import LeaseSpec
from datastores.storage.contract import Patience, Store
from datastores.storage.open import open_store
from datastores.storage.verbs import exists
from datastores.value import Value
from mount.adapters import Mounted, find_adapter, mount
from mount.agent.mounting import MountWish
from mount.agent.node_cache import open_node_cache
from mount.agent.opening import credential_of
from mount.cache import NodeCache
from mount.errors import MountRefused, OutputFailed
from mount.fs.file_system import StoreFileSystem
from mount.fs.recovery import Outcome, recover
from mount.fs.spool import Spool
from mount.fs.view import MountView
from mount.fuse import device
from mount.fuse.options import MountOptions
from mount.leases import RenewableLease, open_renewable
from mount.places import cache_folder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FuseMounter:
    """Mounts of one process; what a dead store refused stays below `spools`."""

    spools: Path
    cache_at: Path = field(default_factory=cache_folder)
    patience: Patience = field(default_factory=Patience)

    def refusal(self) -> str | None:
        with tempfile.TemporaryDirectory(prefix="datastores-trial-") as trial:
            found = find_adapter(trial)
        return found if isinstance(found, str) else None

    def mount(self, wish: MountWish) -> FuseMount:
        device.repair(str(wish.at))
        lease = RenewableLease(wish.definition.name, wish.lease)
        store = open_renewable(lease, lambda spec: self._open(wish, spec))
        try:
            _refuse_single_file(wish, store)
            return self._mounted(wish, store, lease)
        except BaseException:
            store.close()
            raise

    def _open(self, wish: MountWish, spec: LeaseSpec | None) -> Store:
        return open_store(wish.definition, credential_of(wish.definition, spec), self.patience)

    def _mounted(self, wish: MountWish, store: Store, lease: RenewableLease) -> FuseMount:
        wish.at.mkdir(parents=True, exist_ok=True)
        view = MountView(
            read_only=not wish.is_writable, place=wish.place, owner=os.getuid(), group=os.getgid()
        )
        spool = Spool.open(self.spools / wish.name)
        files = StoreFileSystem(store, self._cache, view, spool)
        if wish.versions is not None:
            _note_versions(files, wish.versions)
        options = MountOptions(source=wish.definition.display, read_only=view.read_only)
        made = mount(files, str(wish.at), options=options)
        made.start()
        return FuseMount(wish, made, files, store, spool, lease)

    @cached_property
    def _cache(self) -> NodeCache:
        return open_node_cache(self.cache_at)


def _note_versions(files: StoreFileSystem, folder: Path) -> None:
    # Of a mount that was made before the script was started.
    shutil.rmtree(folder, ignore_errors=True)
    try:
        files.note_versions(folder)
    except OSError as error:
        log.warning("the versions that are opened are not noted: %s", error)


def _refuse_single_file(wish: MountWish, store: Store) -> None:
    if wish.place and exists(store, wish.place):
        raise MountRefused(str(wish.at), "it is a single file, which is copied")


class FuseMount(Value):
    """One mount, served by threads of this process."""

    wish: MountWish
    mounted: Mounted
    files: StoreFileSystem
    store: Store
    spool: Spool
    lease: RenewableLease

    def renew(self, lease: LeaseSpec) -> None:
        self.lease.renew(lease)

    def trouble(self) -> str | None:
        return self.lease.trouble

    def release(self, bound_seconds: float) -> None:
        """Take the mount away, send what was written and not yet stored, name what was not."""
        device.repair(self.mounted.mountpoint)
        if not self.mounted.wait(0):
            self.mounted.unmount(lazy=True)
            if not self.mounted.wait(bound_seconds):
                self.mounted.abort()
                self.mounted.wait(bound_seconds)
        found = recover(self.spool, self.store)
        self.store.close()
        for one in found:
            if one.outcome is Outcome.UNFINISHED and one.size:
                # Written by a script that was killed: nobody was promised that it is stored.
                log.warning('"%s" was never closed; its %d bytes stay there', one.path, one.size)
        left = [one for one in found if one.outcome in (Outcome.CONFLICT, Outcome.FAILED)]
        if left:
            names = ", ".join(f'"{one.key or one.path.name}"' for one in left[:5])
            raise OutputFailed(
                self.wish.name, f"{names} did not arrive; the bytes are in {left[0].path.parent}"
            )

    def keep_versions(self, bound_seconds: float) -> None:
        """They are in their folder already."""

    def counters(self) -> Mapping[str, int | float]:
        counts = asdict(self.files.counters()) | {"defects": self.mounted.figures.defects}
        return {**counts, "passthrough": self.mounted.passthrough}
