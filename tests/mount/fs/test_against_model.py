"""The file system beside a dictionary: the same calls, the same answers."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from datastores.storage.contract import Store
from datastores.storage.local import LocalStore
from datastores.storage.memory import MemoryStore
from datastores.storage.verbs import read_bytes
from mount.cache.node_cache import NodeCache
from mount.fs.file_system import StoreFileSystem
from mount.fs.spool import Spool
from mount.fs.view import MountView
from tests.contracts.faulty_store import FaultyStore
from tests.mount.fs.conftest import QUOTA_BYTES, FullCache, Mounted
from tests.mount.fs.kernel import BOTH, READ, WRITE, KernelInMiniature, OpenFile

NAMES = st.sampled_from(["a", "b"])
FOLDERS = st.sampled_from(["", "d", "e", "d/d"])
INDEXES = st.integers(0, 9)
BODIES = st.binary(max_size=40)
OFFSETS = st.integers(0, 50)
# Blocks of eight bytes make every file of some length a streamed one.
BLOCK_BYTES = 8


@dataclass(eq=False)
class File:
    """One file of the model; open handles keep it when its name goes."""

    body: bytearray = field(default_factory=bytearray)
    handles: int = 0

    def write(self, offset: int, data: bytes) -> None:
        if data:
            self.body.extend(b"\0" * (offset - len(self.body)))
            self.body[offset : offset + len(data)] = data


class Machine(RuleBasedStateMachine):
    """Files, folders, several handles, and another client."""

    store_kind = "memory"
    has_cache = True

    def __init__(self) -> None:
        super().__init__()
        self.temporary = tempfile.TemporaryDirectory()
        root = Path(self.temporary.name)
        self.store = self.make_store(root)
        spool = Spool.open(root / "spool")
        self.cache = NodeCache.open(root / "cache", quota_bytes=QUOTA_BYTES, reserve_bytes=0)
        cache = self.cache if self.has_cache else FullCache(self.cache)
        # Without a cache a large file that is deleted cannot be kept for its readers.
        small_file_bytes = 16 if self.has_cache else 1000
        view = MountView(block_bytes=BLOCK_BYTES, small_file_bytes=small_file_bytes, spool_bytes=16)
        fs = StoreFileSystem(self.store, cache, view, spool)  # type: ignore[arg-type]  # the full cache forwards the rest
        self.kernel = KernelInMiniature(fs)
        fs.start(self.kernel)
        self.mounted = Mounted(self.kernel, fs, self.store, spool)
        self.files: dict[str, File] = {}
        self.folders = {""}
        self.handles: list[tuple[OpenFile, File]] = []

    def make_store(self, root: Path) -> FaultyStore:
        inner: Store = MemoryStore(page_size=2)
        if self.store_kind == "local":
            (root / "store").mkdir()
            inner = LocalStore("local", root / "store")
        return FaultyStore(inner)

    @initialize()
    def other_client_begins(self) -> None:
        self.store.inner.write("a", b"what was there before")
        self.files["a"] = File(bytearray(b"what was there before"))
        self.kernel.mkdir("d")
        self.folders.add("d")

    def path(self, folder: str, name: str) -> str:
        return f"{folder}/{name}" if folder else name

    def some_file(self, index: int) -> str:
        return sorted(self.files)[index % len(self.files)]

    def is_free(self, path: str) -> bool:
        return path not in self.files and path not in self.folders

    @rule(folder=FOLDERS, name=NAMES, body=BODIES)
    def write_whole(self, folder: str, name: str, body: bytes) -> None:
        path = self.path(folder, name)
        if folder not in self.folders or path in self.folders:
            return
        self.kernel.write(path, body)
        self.files.setdefault(path, File()).body[:] = body

    @rule(folder=FOLDERS, name=NAMES, body=BODIES)
    def append(self, folder: str, name: str, body: bytes) -> None:
        path = self.path(folder, name)
        if folder not in self.folders or path in self.folders:
            return
        self.kernel.append(path, body)
        file = self.files.setdefault(path, File())
        file.write(len(file.body), body)

    @precondition(lambda self: self.files)
    @rule(index=INDEXES, access=st.sampled_from([READ, WRITE, BOTH]))
    def open(self, index: int, access: object) -> None:
        path = self.some_file(index)
        if len(self.handles) < 4:
            opened = self.kernel.open(path, access)  # type: ignore[arg-type]  # drawn from Access
            self.files[path].handles += 1
            self.handles.append((opened, self.files[path]))

    @precondition(lambda self: self.handles)
    @rule(index=st.integers(0, 3), offset=OFFSETS, body=BODIES)
    def write_into(self, index: int, offset: int, body: bytes) -> None:
        opened, file = self.handles[index % len(self.handles)]
        if WRITE in opened.access:
            opened.write(body, offset)
            file.write(offset, body)

    @precondition(lambda self: self.handles)
    @rule(index=st.integers(0, 3), size=OFFSETS)
    def truncate_handle(self, index: int, size: int) -> None:
        opened, file = self.handles[index % len(self.handles)]
        if WRITE in opened.access:
            opened.truncate(size)
            file.body[size:] = b"\0" * (size - len(file.body))

    @precondition(lambda self: self.handles)
    @rule(index=st.integers(0, 3), offset=OFFSETS, size=OFFSETS)
    def read_from(self, index: int, offset: int, size: int) -> None:
        opened, file = self.handles[index % len(self.handles)]
        assert opened.read(size, offset) == bytes(file.body[offset : offset + size])

    @precondition(lambda self: self.handles)
    @rule(index=st.integers(0, 3))
    def fsync(self, index: int) -> None:
        self.handles[index % len(self.handles)][0].fsync()

    @precondition(lambda self: self.handles)
    @rule(index=st.integers(0, 3))
    def close(self, index: int) -> None:
        opened, file = self.handles.pop(index % len(self.handles))
        opened.close()
        file.handles -= 1

    @precondition(lambda self: self.files)
    @rule(index=INDEXES, size=OFFSETS)
    def truncate(self, index: int, size: int) -> None:
        path = self.some_file(index)
        self.kernel.truncate(path, size)
        body = self.files[path].body
        body[size:] = b"\0" * (size - len(body))

    @precondition(lambda self: self.files)
    @rule(index=INDEXES)
    def unlink(self, index: int) -> None:
        path = self.some_file(index)
        self.kernel.unlink(path)
        del self.files[path]

    @rule(folder=FOLDERS)
    def mkdir(self, folder: str) -> None:
        parent = folder.rpartition("/")[0]
        if parent in self.folders and self.is_free(folder):
            self.kernel.mkdir(folder)
            self.folders.add(folder)

    @rule(folder=FOLDERS)
    def rmdir(self, folder: str) -> None:
        if folder not in self.folders or not folder:
            return
        if self.below(folder):
            with pytest.raises(OSError, match="not empty"):
                self.kernel.rmdir(folder)
        else:
            self.kernel.rmdir(folder)
            self.folders.discard(folder)

    @precondition(lambda self: self.files)
    @rule(index=INDEXES, new_folder=FOLDERS, new_name=NAMES)
    def rename_file(self, index: int, new_folder: str, new_name: str) -> None:
        path, new_path = self.some_file(index), self.path(new_folder, new_name)
        if new_folder in self.folders and new_path not in self.folders:
            self.kernel.rename(path, new_path)
            self.files[new_path] = self.files.pop(path)

    @rule(folder=FOLDERS, new_folder=FOLDERS)
    def rename_folder(self, folder: str, new_folder: str) -> None:
        parent = new_folder.rpartition("/")[0]
        if folder not in self.folders or not folder or parent not in self.folders:
            return
        if not new_folder or f"{new_folder}/".startswith(f"{folder}/"):
            return
        if new_folder in self.files or self.below(new_folder):
            return
        self.kernel.rename(folder, new_folder)
        for path in [p for p in self.files if p.startswith(folder + "/")]:
            self.files[new_folder + path[len(folder) :]] = self.files.pop(path)
        moved = {p for p in self.folders if f"{p}/".startswith(folder + "/")}
        self.folders = (self.folders - moved) | {new_folder + p[len(folder) :] for p in moved}

    @rule(folder=FOLDERS, name=NAMES, body=BODIES)
    def other_client_writes(self, folder: str, name: str, body: bytes) -> None:
        path = self.path(folder, name)
        if folder not in self.folders or path in self.folders or self.is_open(path):
            return
        self.store.inner.write(path, body)
        self.files[path] = File(bytearray(body))
        self.mounted.fs.refresh()

    @precondition(lambda self: self.files)
    @rule(index=INDEXES)
    def other_client_deletes(self, index: int) -> None:
        path = self.some_file(index)
        if not self.is_open(path):
            self.store.inner.delete(path)
            del self.files[path]
            self.mounted.fs.refresh()

    @rule()
    def forget(self) -> None:
        self.kernel.forget_all()

    @rule(folder=FOLDERS)
    def list_folder(self, folder: str) -> None:
        if folder in self.folders:
            assert sorted(self.kernel.list(folder, most=3)) == self.below(folder)

    @rule(folder=FOLDERS, name=NAMES)
    def read(self, folder: str, name: str) -> None:
        path = self.path(folder, name)
        assert self.kernel.exists(path) == (not self.is_free(path))
        if path in self.files:
            body = bytes(self.files[path].body)
            assert (self.kernel.stat(path).size, self.kernel.read(path)) == (len(body), body)

    @invariant()
    def sizes_agree(self) -> None:
        for opened, file in self.handles:
            attributes = self.kernel.fs.getattr(opened.inode, opened.opened.handle, wait=True)
            assert attributes.attributes.size == len(file.body)

    def is_open(self, path: str) -> bool:
        return path in self.files and self.files[path].handles > 0

    def below(self, folder: str) -> list[str]:
        start = f"{folder}/" if folder else ""
        children = {p for p in (*self.files, *self.folders) if p.startswith(start) and p != folder}
        return sorted({p[len(start) :].partition("/")[0] for p in children} - {""})

    def teardown(self) -> None:
        try:
            for opened, _ in self.handles:
                opened.close()
            want = {path: bytes(file.body) for path, file in self.files.items()}
            folders = {f"{folder}/" for folder in self.folders if folder}
            assert set(self.kernel.walk()) == set(want) | folders
            assert {path: self.kernel.read(path) for path in want} == want
            assert {key: read_bytes(self.store.inner, key) for key in self.keys()} == want
            self.mounted.check()
        finally:
            self.mounted.fs.stop()
            self.cache.close()
            self.temporary.cleanup()

    def keys(self) -> set[str]:
        return {
            info.key
            for page in self.store.inner.list()
            for info in page.objects
            if not info.key.endswith("/")
        }


class LocalMachine(Machine):
    store_kind = "local"


class FullCacheMachine(Machine):
    has_cache = False


@pytest.mark.parametrize("machine", [Machine, LocalMachine, FullCacheMachine])
def test_file_system_does_what_a_dictionary_does(machine: type[Machine]) -> None:
    """Any sequence of calls gives what the same calls on a dictionary give, and leaves nothing."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
