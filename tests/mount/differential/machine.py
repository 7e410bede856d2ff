"""One sequence of calls on a mount, on a tmpfs folder and on a model, with another client about."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from datastores.storage.contract import Store
from datastores.storage.local import LocalStore
from datastores.storage.memory import MemoryStore
from datastores.storage.verbs import read_bytes
from mount.cache.node_cache import NodeCache
from mount.fs.file_system import StoreFileSystem
from mount.fs.spool import Spool
from mount.fs.view import MountView
from mount.fuse.mounted import Mounted, mount
from mount.fuse.options import MountOptions
from tests.mount.differential.disk import Disk
from tests.mount.differential.model import File, Folder, Link, Model, Stat

KIB = 1024
SECONDS = 20.0
# A folder that is always there, so that names meet often.
NAMES = ["a", "b", "c"]
FOLDERS = ["", "", "d", "e", "d/d", "a"]
# Where files are in the beginning, with their sizes.
FILES = {"a": 300_000, "d/a": 5_000, "d/b": 5_000, "d/d/a": 70_000}
PATHS = st.one_of(
    st.sampled_from(list(FILES)),
    st.builds(
        lambda folder, name: f"{folder}/{name}".lstrip("/"),
        st.sampled_from(FOLDERS),
        st.sampled_from([*NAMES, "d", "e"]),
    ),
)
PLACES = st.one_of(st.just(""), PATHS)
SLOTS = st.integers(0, 3)
SIZES = st.sampled_from([0, 1, 100, 4 * KIB, 5_000, 64 * KIB, 70_000, 300_000])
OFFSETS = st.sampled_from([0, 1, 4_095, 4 * KIB, 10_000, 64 * KIB, 130_000, 262_144, 300_001])
SEEDS = st.integers(0, 255)
MODES = st.sampled_from([0o600, 0o644, 0o400, 0o755])
TIMES = st.sampled_from([10**18, 1_234_567_890_123_456_789, 1_500_000_000 * 10**9])
TARGETS = st.sampled_from(["a", "b", "d", "d/a", "c", "none"])
READS, WRITES = os.O_RDONLY, (os.O_WRONLY, os.O_RDWR)
FLAGS = st.sampled_from(
    [
        READS,
        *WRITES,
        READS | os.O_CREAT,
        *(way | os.O_CREAT for way in WRITES),
        *(way | os.O_TRUNC for way in WRITES),
        *(way | os.O_CREAT | os.O_TRUNC for way in WRITES),
        *(way | os.O_CREAT | os.O_EXCL for way in WRITES),
        *(way | os.O_CREAT | os.O_APPEND for way in WRITES),
    ]
)
STALE = "ESTALE"


@dataclass(frozen=True, slots=True)
class Failed:
    """How a call failed."""

    number: str


class Differential(RuleBasedStateMachine):
    """Whatever is done, the mount answers as the model does; so does a local folder."""

    # How long the mount may believe what it knows; without this it asks each time.
    seconds: ClassVar[float] = 0.0
    cache_bytes: ClassVar[int] = 1 << 30

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm")))
        self.model = Model()
        (self.folder / "tmpfs").mkdir()
        self.tmpfs = Disk(self.folder / "tmpfs")
        self.store = self.make_store()
        self.cache = NodeCache.open(
            self.folder / "cache", quota_bytes=self.cache_bytes, reserve_bytes=0
        )
        self.stack.callback(self.cache.close)
        self.spool = Spool.open(self.folder / "spool")
        self.fs, self.mounted = self.make_mount("mount")
        self.mount = Disk(self.folder / "mount")

    def make_store(self) -> Store:
        return MemoryStore(page_size=2)

    def make_mount(self, name: str) -> tuple[StoreFileSystem, Mounted]:
        view = MountView(
            name_seconds=self.seconds,
            attribute_seconds=self.seconds,
            # The kernel cannot be told to forget all names that are known not to exist.
            absent_seconds=0.0,
            small_file_bytes=8 * KIB,
            block_bytes=64 * KIB,
            spool_bytes=128 * KIB,
            part_bytes=256 * KIB,
            window_bytes=512 * KIB,
            connections=4,
            stop_seconds=10.0,
        )
        (self.folder / name).mkdir()
        fs = StoreFileSystem(self.store, self.cache, view, self.spool)
        mounted = mount(fs, str(self.folder / name), options=MountOptions(threads=4))
        return fs, self.stack.enter_context(mounted)

    def same(self, call: str, *args: Any, also: Sequence[object] = ()) -> Any:
        """Do it everywhere; the mount's answer is the model's, or one that is allowed as well."""
        want = outcome(getattr(self.model, call), *args)
        local = outcome(getattr(self.tmpfs, call), *args)
        assert shown(local, want) == want, f"a local folder: {call}{args}: {brief(local, want)}"
        got = outcome(getattr(self.mount, call), *args)
        fits = shown(got, want) == want or got in also
        assert fits, f"the mount: {call}{args}: {brief(got, want)}"
        return want

    def is_open(self, slot: int, *, writable: bool | None = None) -> bool:
        handle = self.model.handles.get(slot)
        if handle is None or writable is None:
            return handle is not None
        return bool(handle.flags & (os.O_WRONLY | os.O_RDWR)) == writable

    def node(self, path: str) -> object:
        return dict(self.model.walk()).get(path)

    @initialize()
    def begin(self) -> None:
        """Something that calls can meet: made here, and by another client."""
        for folder in ("d", "e", "d/d"):
            self.same("mkdir", folder)
        for path, size in FILES.items():
            if path == "d/a":
                self.same("write", path, body(1, size))
            else:
                self.another_client_writes(path=path, size=size, seed=2)

    @rule(slot=SLOTS, path=PATHS, flags=FLAGS)
    def open(self, slot: int, path: str, flags: int) -> None:
        if self.is_open(slot) or (flags == READS and self.is_folder(path)):
            return
        self.same("open", slot, path, flags)

    def is_folder(self, path: str) -> bool:
        """Whether a path leads to a folder, which could be opened and not read."""
        return isinstance(outcome(self.model.listdir, path), list)

    @precondition(lambda self: self.model.handles)
    @rule(slot=SLOTS)
    def close(self, slot: int) -> None:
        if self.is_open(slot):
            self.same("close", slot)

    @precondition(lambda self: self.model.handles)
    @rule(slot=SLOTS, offset=OFFSETS, size=SIZES)
    def pread(self, slot: int, offset: int, size: int) -> None:
        handle = self.model.handles.get(slot)
        if handle is None or handle.flags & os.O_WRONLY:
            return
        also: list[object] = [Failed(STALE)] if handle.file.is_replaced else []
        if handle.begun_as is not None:
            also.append(handle.begun_as[offset : offset + size])
        self.same("pread", slot, offset, size, also=also)

    @precondition(lambda self: self.model.handles)
    @rule(slot=SLOTS, offset=OFFSETS, size=SIZES, seed=SEEDS)
    def pwrite(self, slot: int, offset: int, size: int, seed: int) -> None:
        if self.is_open(slot, writable=True):
            self.same("pwrite", slot, offset, body(seed, size))

    @precondition(lambda self: self.model.handles)
    @rule(slot=SLOTS, size=SIZES)
    def ftruncate(self, slot: int, size: int) -> None:
        if self.is_open(slot, writable=True):
            self.same("ftruncate", slot, size)

    @precondition(lambda self: self.model.handles)
    @rule(slot=SLOTS)
    def fsync(self, slot: int) -> None:
        if self.is_open(slot, writable=True):
            self.same("fsync", slot)

    @precondition(lambda self: self.model.handles)
    @rule(slot=SLOTS)
    def fsize(self, slot: int) -> None:
        handle = self.model.handles.get(slot)
        if handle is not None and not handle.file.is_replaced:
            also = [] if handle.begun_as is None else [len(handle.begun_as)]
            self.same("fsize", slot, also=also)

    @rule(path=PATHS, size=SIZES)
    def truncate(self, path: str, size: int) -> None:
        self.same("truncate", path, size)

    @rule(path=PATHS)
    def read(self, path: str) -> None:
        self.same("read", path)

    @rule(path=PATHS, size=SIZES, seed=SEEDS)
    def write(self, path: str, size: int, seed: int) -> None:
        self.same("write", path, body(seed, size))

    @rule(path=PATHS, size=SIZES, seed=SEEDS)
    def append(self, path: str, size: int, seed: int) -> None:
        self.same("append", path, body(seed, size))

    @rule(path=PATHS)
    def unlink(self, path: str) -> None:
        self.same("unlink", path)

    @rule(path=PATHS)
    def mkdir(self, path: str) -> None:
        self.same("mkdir", path)

    @rule(path=PATHS)
    def rmdir(self, path: str) -> None:
        self.same("rmdir", path)

    @rule(path=PATHS, new_path=PATHS)
    def rename(self, path: str, new_path: str) -> None:
        self.same("rename", path, new_path)

    @rule(points_to=TARGETS, path=PATHS)
    def symlink(self, points_to: str, path: str) -> None:
        self.same("symlink", points_to, path)

    @rule(path=PATHS)
    def readlink(self, path: str) -> None:
        self.same("readlink", path)

    @rule(path=PATHS, mode=MODES)
    def chmod(self, path: str, mode: int) -> None:
        self.same("chmod", path, mode)

    @rule(path=PATHS, mtime_ns=TIMES)
    def utime(self, path: str, mtime_ns: int) -> None:
        self.same("utime", path, mtime_ns)

    @rule(path=PLACES)
    def listdir(self, path: str) -> None:
        self.same("listdir", path)

    @rule(path=PATHS)
    def lstat(self, path: str) -> None:
        self.same("lstat", path)

    @rule(path=PATHS, size=SIZES, seed=SEEDS)
    def another_client_writes(self, path: str, size: int, seed: int) -> None:
        if not self.may_be_replaced(path):
            return
        self.await_releases()
        self.store.write(path, body(seed, size))
        self.model.put_by_another(path, body(seed, size))
        self.tmpfs.put_by_another(path, body(seed, size))
        self.look_again(path)

    @rule(slot=SLOTS, path=PATHS, offset=OFFSETS, size=SIZES, seed=SEEDS)
    def another_client_replaces_what_is_read(
        self, slot: int, path: str, offset: int, size: int, seed: int
    ) -> None:
        """Somebody here reads the new version while somebody else goes on with the old one."""
        if self.is_open(slot) or not isinstance(self.node(path), File):
            return
        self.same("open", slot, path, READS)
        self.pread(slot=slot, offset=0, size=100)
        self.another_client_writes(path=path, size=size, seed=seed)
        self.same("read", path)
        self.pread(slot=slot, offset=offset, size=size)

    @rule(path=PATHS)
    def another_client_deletes(self, path: str) -> None:
        if not isinstance(self.node(path), File) or not self.may_be_replaced(path):
            return
        above = path.rpartition("/")[0]
        # A folder without its last object is gone for some stores and stays for others.
        if above and len(self.model.listdir(above)) == 1:
            return
        self.await_releases()
        self.store.delete(path)
        self.model.delete_by_another(path)
        self.tmpfs.delete_by_another(path)
        self.look_again(path)

    def may_be_replaced(self, path: str) -> bool:
        """Whether there is a file nobody here writes to, or a free name that leads nowhere else."""
        nodes = dict(self.model.walk())
        above = [path[:at] for at, letter in enumerate(path) if letter == "/"]
        if not all(isinstance(nodes.get(one, Folder()), Folder) for one in above):
            return False
        node = nodes.get(path)
        return node is None or (isinstance(node, File) and node.writers == 0)

    def await_releases(self) -> None:
        """The kernel tells of a last close after close(2) has returned."""
        writing = {handle.file for handle in self.model.handles.values() if handle.file.writers}
        until(lambda: self.fs.counters().drafts <= len(writing), "drafts are ended")

    def look_again(self, path: str) -> None:
        if not self.seconds:
            return
        self.fs.refresh()
        # The kernel is told by threads of their own.
        for call in ("lstat", "read"):
            want = outcome(getattr(self.model, call), path)
            until(
                lambda call=call, want=want: (
                    shown(outcome(getattr(self.mount, call), path), want)  # type: ignore[misc]  # bound now
                    == want
                ),
                f"{path} is seen anew",
            )

    def teardown(self) -> None:
        try:
            for slot in list(self.model.handles):
                self.same("close", slot)
            self.compare_all()
            self.await_releases()
            until(lambda: self.fs.counters().open_files == 0, "files are released")
            assert list(self.spool.folder.iterdir()) == []
            self.compare_with_a_new_mount()
        finally:
            for disk in (self.mount, self.tmpfs):
                disk.close_all()
            self.stack.close()

    def compare_all(self) -> None:
        for path, node in [("", self.model.root), *self.model.walk()]:
            if path:
                self.same("lstat", path)
            match node:
                case File():
                    self.same("read", path)
                case Folder():
                    self.same("listdir", path)
                case Link():
                    self.same("readlink", path)
        assert self.stored() == self.model.files()

    def stored(self) -> dict[str, bytes]:
        """What any other client finds."""
        return {
            info.key: read_bytes(self.store, info.key)
            for page in self.store.list()
            for info in page.objects
            if not info.key.endswith("/")
            and (
                self.store.features.real_folders
                or not self.store.stat(info.key).metadata.get("is_symlink")
            )
        }

    def compare_with_a_new_mount(self) -> None:
        """A later mount with the same cache reads the same bytes."""
        self.make_mount("later")
        later = Disk(self.folder / "later")
        files = self.model.files()
        assert {path: later.read(path) for path in files} == files


class Remembering(Differential):
    """The mount believes what it knows for a minute; it is told when another client was here."""

    seconds = 60.0


class Crowded(Differential):
    """There is hardly any room in the cache."""

    cache_bytes = 600 * KIB


class OnFolders(Differential):
    """The store is a local folder: real folders, no blocks, no links, no metadata."""

    def make_store(self) -> Store:
        (self.folder / "store").mkdir()
        return LocalStore("local", self.folder / "store")

    @rule(points_to=TARGETS, path=PATHS)
    def symlink(self, points_to: str, path: str) -> None:
        """Links cannot be kept there, and are refused."""
        if isinstance(outcome(self.model.lstat, path), Failed):
            got = outcome(self.mount.symlink, points_to, path)
            assert isinstance(got, Failed)


MACHINES: dict[str, type[Differential]] = {
    "asking": Differential,
    "remembering": Remembering,
    "crowded": Crowded,
    "folders": OnFolders,
}


def body(seed: int, size: int) -> bytes:
    """Bytes in which places and seeds can be told apart."""
    row = bytes((seed + at * 7) % 256 for at in range(251))
    return (row * (size // 251 + 1))[:size]


def outcome(call: Callable[..., Any], *args: Any) -> Any:
    """What a call answers, or the name of the error that it fails with."""
    import errno

    try:
        return call(*args)
    except OSError as error:
        return Failed(errno.errorcode.get(error.errno or 0, "?"))


def shown(got: Any, want: Any) -> Any:
    """An answer without what nothing is promised about."""
    if not isinstance(got, Stat) or not isinstance(want, Stat):
        return got
    return Stat(
        got.kind,
        got.size if want.size is not None else None,
        got.mode if want.mode is not None else None,
        got.mtime_ns if want.mtime_ns is not None else None,
    )


def brief(got: Any, want: Any) -> str:
    """What differs, short enough for a line."""
    if isinstance(got, bytes) and isinstance(want, bytes):
        at = next((i for i, (x, y) in enumerate(zip(got, want, strict=False)) if x != y), None)
        return f"{len(got)} bytes instead of {len(want)}, the first other one at {at}"
    return f"{got!r:.200} instead of {want!r:.200}"


def until(is_so: Callable[[], bool], what: str) -> None:
    """Wait for what comes by itself, for a bounded time."""
    deadline = time.monotonic() + SECONDS
    pause = 0.0005
    while not is_so():
        assert time.monotonic() < deadline, f"not after {SECONDS:.0f} s: {what}"
        time.sleep(pause)
        pause = min(0.05, pause * 2)
