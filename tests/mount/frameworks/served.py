"""A store mounted for other processes: this one serves, and never touches the files itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from datastores.credentials.kinds import AccountKey
from datastores.definitions.azure_storage import BlobContainer
from datastores.names import DatastoreName
from datastores.storage.contract import Store
from datastores.storage.local import LocalStore
from datastores.storage.open import open_store
from mount.cache import NodeCache
from mount.fs.file_system import StoreFileSystem
from mount.fs.spool import Spool
from mount.fs.view import MountView
from mount.fuse.mounted import Mounted, mount
from mount.fuse.options import MountOptions
from tests.servers.azurite import Azurite

QUOTA_BYTES = 4 << 30
VIEW = MountView()
# Believes nothing it heard before, so it shows what the store has now.
EVER_ASKING = MountView(name_seconds=0.0, attribute_seconds=0.0, absent_seconds=0.0)


@dataclass(frozen=True, slots=True)
class Served:
    """A mount with a cache of its own, empty when it was made."""

    path: Path
    mounted: Mounted
    files: StoreFileSystem


@contextmanager
def served(
    store: Store,
    folder: Path,
    *,
    view: MountView = VIEW,
    allow_other: bool = False,
) -> Iterator[Served]:
    """Mount a store below a folder; at the end all of it must have arrived, without a defect."""
    path, kept = folder / "mount", folder / "cache"
    for place in (path, kept):
        place.mkdir(parents=True)
    spool = Spool.open(folder / "spool")
    cache = NodeCache.open(kept, quota_bytes=QUOTA_BYTES, reserve_bytes=0)
    with closing(cache):
        files = StoreFileSystem(store, cache, view, spool)
        options = MountOptions(read_only=view.read_only, allow_other=allow_other)
        mounted = mount(files, str(path), options=options)
        with mounted:
            yield Served(path, mounted, files)
        assert mounted.wait(0)
        assert mounted.figures.defects == 0
        assert list(spool.folder.iterdir()) == []


@contextmanager
def container_store(azurite: Azurite, container: str) -> Iterator[Store]:
    """A container as the agent opens it."""
    definition = BlobContainer(
        name=DatastoreName("cloud"),
        container=container,
        account=azurite.account,
        endpoint=azurite.endpoint,
    )
    with closing(open_store(definition, AccountKey(azurite.key))) as store:
        yield store


@contextmanager
def folder_store(folder: Path) -> Iterator[Store]:
    """A folder of this machine as a store."""
    folder.mkdir()
    with closing(LocalStore("local", folder)) as store:
        yield store
