"""Real mounts of Azurite with a lying network between, and disks too small for them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from datastores.credentials.kinds import AccountKey, Credential
from datastores.definitions.azure_storage import BlobContainer
from datastores.names import DatastoreName
from datastores.storage.contract import Patience, Store
from datastores.storage.open import open_store
from datastores.storage.verbs import read_bytes
from mount.cache.node_cache import NodeCache
from mount.cache.room import Limits
from mount.fs.file_system import StoreFileSystem
from mount.fs.recovery import Outcome, recover
from mount.fs.spool import Spool
from mount.fs.view import MountView
from mount.fuse.mounted import Mounted, mount
from mount.fuse.options import MountOptions
from tests.mount.adapters.mounting import rescued
from tests.servers.azurite import Azurite
from tests.servers.fault_proxy import FaultProxy

MIB = 1024 * 1024
QUOTA_BYTES = 1 << 30
# What one call may take when the first attempt meets a fault: far below the faults that last 40
# and 240 seconds, far above what a busy machine needs.
BOUND_SECONDS = 30.0
QUICK = Patience(connect_seconds=2.0, read_seconds=1.5, attempts=5, total_seconds=15.0)
# Longer than the shortest stall: it is waited out.
PATIENT = Patience(connect_seconds=5.0, read_seconds=20.0, attempts=5, total_seconds=60.0)


@dataclass(frozen=True, slots=True)
class Scene:
    """One mount, the proxy it goes through, and the store as everybody else sees it."""

    at: Path
    proxy: FaultProxy
    direct: Store
    store: Store
    fs: StoreFileSystem
    cache: NodeCache
    spool: Spool
    mounted: Mounted

    def put(self, key: str, body: bytes) -> None:
        """What another client does."""
        self.direct.write(key, body)

    def stored(self, key: str) -> bytes:
        return read_bytes(self.direct, key)

    def unmount(self) -> None:
        """Take the mount away; its file system has stopped when this returns."""
        self.mounted.unmount()
        assert self.mounted.wait(BOUND_SECONDS)

    def recovered(self) -> list[tuple[str | None, Outcome]]:
        """What recovery makes of the spool now."""
        return [(one.key, one.outcome) for one in recover(self.spool, self.store)]


MakeScene = Callable[..., Scene]


@pytest.fixture
def make_scene(azurite: Azurite, tmp_path: Path) -> Iterator[MakeScene]:
    """Mounts a fresh container through a proxy of its own; everything is gone afterwards."""
    with ExitStack() as stack:

        def make(
            patience: Patience = QUICK,
            *,
            credential: Credential | None = None,
            signs: str | None = None,
            container: str | None = None,
            cache: NodeCache | None = None,
            cache_at: Path | None = None,
            spool_at: Path | None = None,
            passthrough: bool = True,
            read_only: bool = False,
            **view: object,
        ) -> Scene:
            container = container or azurite.container()
            proxy = stack.enter_context(FaultProxy(azurite.endpoint, signs))
            key = AccountKey(azurite.key)
            direct = open_container(azurite.endpoint, container, key, PATIENT)
            stack.callback(direct.close)
            store = open_container(proxy.endpoint, container, credential or key, patience)
            stack.callback(store.close)
            place = tmp_path / f"mount-{container}-{proxy.port}"
            place.mkdir()
            if cache is None:
                cache = NodeCache.open(
                    cache_at or place.with_name(f"{place.name}-cache"),
                    quota_bytes=QUOTA_BYTES,
                    reserve_bytes=0,
                    limits=Limits(0, 0, refuse_seconds=0.0),
                )
                stack.callback(cache.close)
            spool = Spool.open(spool_at or place.with_name(f"{place.name}-spool"))
            settings = {"stop_seconds": 10.0, "turn_seconds": 60.0, **view}
            fs = StoreFileSystem(store, cache, MountView(read_only=read_only, **settings), spool)  # type: ignore[arg-type]  # settings by name
            options = MountOptions(read_only=read_only)
            mounted = mount(fs, str(place), options=options)
            stack.enter_context(rescued(mounted.connection))
            stack.enter_context(mounted)
            return Scene(place, proxy, direct, store, fs, cache, spool, mounted)

        yield make


@pytest.fixture
def scene(make_scene: MakeScene) -> Scene:
    """A mount of an empty container, with little patience."""
    return make_scene()


def open_container(
    endpoint: str, container: str, credential: Credential, patience: Patience
) -> Store:
    definition = BlobContainer(
        name=DatastoreName("faults"),
        container=container,
        account="devstoreaccount1",
        endpoint=endpoint,
    )
    return open_store(definition, credential, patience)


def body_of(size: int, seed: int = 1) -> bytes:
    """Bytes in which every block differs from every other, and from those of another seed."""
    words = (size + 7) // 8
    return b"".join((seed * 2**40 + at).to_bytes(8, "little") for at in range(words))[:size]


@contextmanager
def within(seconds: float = BOUND_SECONDS) -> Iterator[None]:
    """The block must not take longer."""
    started = time.monotonic()
    yield
    spent = time.monotonic() - started
    assert spent < seconds, f"it took {spent:.1f} s"


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Path]:
    """A file system of its own, as small as the options say."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def opened(path: Path, flags: int) -> Iterator[int]:
    """A descriptor whose close may fail: what it reports comes out unless the block failed."""
    fd = os.open(path, flags, 0o644)
    try:
        yield fd
    except BaseException:
        with contextlib.suppress(OSError):
            os.close(fd)
        raise
    os.close(fd)


def write_all(fd: int, body: bytes) -> None:
    """Every byte, in pieces as programs write them."""
    view = memoryview(body)
    while view:
        view = view[os.write(fd, view[:MIB]) :]


def read_all(path: Path) -> bytes:
    """The file's bytes by read(2), as a program sees them."""
    with opened(path, os.O_RDONLY) as fd:
        pieces = []
        while piece := os.read(fd, MIB):
            pieces.append(piece)
        return b"".join(pieces)


def listed(path: Path) -> list[str]:
    """The names in a folder, in order."""
    return sorted(one.name for one in path.iterdir())
