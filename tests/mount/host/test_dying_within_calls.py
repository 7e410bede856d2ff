"""A process dies at every step of a call, and the next one is asked again."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

from datastores.storage.contract import Store
from datastores.storage.local import LocalStore
from datastores.storage.memory import MemoryStore
from mount.cache.node_cache import NodeCache
from mount.fs.chronicle import Chronicle
from mount.fs.revival import RevivableFileSystem
from mount.fs.spool import Spool
from mount.fs.view import MountView
from tests.contracts.faulty_store import FaultyStore
from tests.mount.fs.conftest import QUOTA_BYTES
from tests.mount.fs.kernel import BOTH, WRITE, KernelInMiniature, OpenFile
from tests.mount.host.mortal import bury, held_by_kernel

T = TypeVar("T")
Files = dict[str, bytes]
Play = Callable[["MortalKernel"], Files]

BLOCK_BYTES = 8
# Who waits for a thread that has died waits no longer than a turn.
VIEW = MountView(block_bytes=BLOCK_BYTES, small_file_bytes=16, spool_bytes=16, turn_seconds=0.2)
CHANGES = {"write", "delete", "copy", "rename", "stage", "commit", "make_folder", "remove_folder"}
ROUNDS = 60


# What a process had open is closed when it is collected here.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class Killed(BaseException):
    """The process ends here; nothing that it does afterwards happens."""


class Fate:
    """Counts the steps of a process, and says which of them it does not live to take."""

    def __init__(self, dies_at: int) -> None:
        self.dies_at = dies_at
        self.steps = 0
        self.is_dead = False
        self.is_at_work = False
        self._lock = threading.Lock()

    def step(self) -> None:
        with self._lock:
            if self.is_at_work and not self.is_dead:
                self.steps += 1
                self.is_dead = self.steps == self.dies_at
            if self.is_dead:
                raise Killed


class MortalChronicle(Chronicle):
    """A process may die before each of its notes."""

    fate: Fate

    def _append(self, deed: int, key: int, value: bytes) -> None:
        self.fate.step()
        super()._append(deed, key, value)


class MortalStore(FaultyStore):
    """A process may die before each change of the store, and before it hears that it was made."""

    fate: Fate

    def meet(self, method: str, key: str, act: Callable[[], T]) -> T:
        if self.fate.is_dead:
            raise Killed
        if method not in CHANGES:
            return act()
        self.fate.step()
        result = act()
        self.fate.step()
        return result


class MortalKernel(KernelInMiniature):
    """A kernel that asks again whoever comes after a process that died with its question."""

    def __init__(self, root: Path, store: Store, fates: Iterator[Fate]) -> None:
        self.store = MortalStore(store)
        self.cache = NodeCache.open(root / "cache", quota_bytes=QUOTA_BYTES, reserve_bytes=0)
        self.spool = Spool.open(root / "spool")
        self.notes = [os.memfd_create(name) for name in ("chronicle", "lookups")]
        self.fates = fates
        self.opened: list[OpenFile] = []
        self.deaths = 0
        self.fate = next(fates)
        super().__init__(self._live())

    def _live(self) -> RevivableFileSystem:
        self.fate = next(self.fates) if self.deaths else self.fate
        chronicle = MortalChronicle.open(*self.notes)
        chronicle.fate = self.store.fate = self.fate
        fs = RevivableFileSystem(self.store, self.cache, VIEW, self.spool, chronicle)
        if self.deaths:
            fs.revive(held_by_kernel(self.opened))
        fs.start(self)
        self.mortal = fs
        return fs

    def asking(self, call: Callable[[bool], T]) -> T:
        self.is_resent = False
        while True:
            try:
                with self._at_work():
                    return super().asking(call)
            except Killed:
                self._die()
                self.is_resent = True

    def give_back(self, file: OpenFile) -> None:
        try:
            with self._at_work():
                super().give_back(file)
        except Killed:
            self._die()
            with suppress(OSError):  # it was given back, and that was noted
                super().give_back(file)
        self.files.discard(id(file))
        self.opened.remove(file)

    def unlink(self, path: str) -> None:
        with self._was_done(FileNotFoundError):
            super().unlink(path)

    def rmdir(self, path: str) -> None:
        with self._was_done(FileNotFoundError):
            super().rmdir(path)

    def rename(self, path: str, new_path: str, *, replace: bool = True) -> None:
        with self._was_done(FileNotFoundError):
            super().rename(path, new_path, replace=replace)

    def mkdir(self, path: str) -> None:
        with self._was_done(FileExistsError):
            super().mkdir(path)

    def end(self) -> None:
        self.mortal.stop()
        self.cache.close()
        for fd in self.notes:
            os.close(fd)

    def _opened(self, *arguments: Any, **options: Any) -> OpenFile:
        file = super()._opened(*arguments, **options)
        self.opened.append(file)
        return file

    def _die(self) -> None:
        bury(self.mortal)
        self.deaths += 1
        self.fs = self._live()

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        fate = self.fate
        fate.is_at_work = True
        try:
            yield
        finally:
            fate.is_at_work = False
        if fate.is_dead:  # of which a thread of it has heard, and not the call
            raise Killed

    @contextmanager
    def _was_done(self, sign: type[OSError]) -> Iterator[None]:
        """Asked again, a call that was done fails like this, and counts as done."""
        try:
            yield
        except sign:
            if not self.is_resent:
                raise


def write_sync_rename_write(kernel: MortalKernel) -> Files:
    with kernel.open("f.tmp", BOTH, create=True, exclusive=True) as file:
        file.write(b"begin")
        file.fsync()
        kernel.rename("f.tmp", "f")
        file.write(b"and end", 5)
    return {"f": b"beginand end"}


def write_rename_write(kernel: MortalKernel) -> Files:
    with kernel.open("f.tmp", BOTH, create=True, exclusive=True) as file:
        file.write(b"begin")
        kernel.rename("f.tmp", "f")
        file.write(b"and end", 5)
    return {"f": b"beginand end"}


def rename_over(kernel: MortalKernel) -> Files:
    kernel.write("f", b"old")
    kernel.write("f.tmp", b"new and longer")
    kernel.rename("f.tmp", "f")
    return {"f": b"new and longer"}


def rename_over_while_open(kernel: MortalKernel) -> Files:
    kernel.write("f", b"what was there")
    with kernel.open("f") as reader, kernel.open("f.tmp", WRITE, create=True) as file:
        file.write(b"new")
        kernel.rename("f.tmp", "f")
        assert reader.read() == b"what was there"
        file.write(b"er", 3)
    return {"f": b"newer"}


def write_over_and_cut(kernel: MortalKernel) -> Files:
    kernel.write("f", bytes(range(50)))
    with kernel.open("f", BOTH) as file:
        file.write(b"!", 20)
        file.truncate(30)
        file.fsync()
        file.write(b"?", 29)
    return {"f": bytes(range(20)) + b"!" + bytes(range(21, 29)) + b"?"}


def append_twice(kernel: MortalKernel) -> Files:
    kernel.append("f", bytes(30))
    kernel.append("f", b"x" * 30)
    return {"f": bytes(30) + b"x" * 30}


def write_a_stream(kernel: MortalKernel) -> Files:
    body = random.Random(1).randbytes(100)
    with kernel.open("f", WRITE, create=True, truncate=True) as file:
        for at in range(0, 100, 10):
            file.write(body[at : at + 10], at)
    return {"f": body}


def write_and_delete(kernel: MortalKernel) -> Files:
    kernel.write("f", b"stored")
    with kernel.open("f", BOTH) as file:
        file.write(b"more", 6)
        kernel.unlink("f")
    kernel.write("g", b"1")
    kernel.unlink("g")
    kernel.write("g", b"2")
    return {"g": b"2"}


def folders(kernel: MortalKernel) -> Files:
    kernel.mkdir("d")
    kernel.write("d/f", b"inside")
    kernel.mkdir("d/e")
    kernel.rmdir("d/e")
    return {"d/f": b"inside"}


def rename_a_folder_with_an_open_file(kernel: MortalKernel) -> Files:
    kernel.mkdir("d")
    kernel.write("d/closed", b"closed")
    with kernel.open("d/f", BOTH, create=True) as file:
        file.write(b"begin")
        file.fsync()
        kernel.rename("d", "e")
        file.write(b"and end", 5)
    return {"e/f": b"beginand end", "e/closed": b"closed"}


def rename_there_and_back(kernel: MortalKernel) -> Files:
    kernel.write("f", b"1")
    kernel.rename("f", "g")
    with kernel.open("g", BOTH) as file:
        file.write(b"2", 1)
    kernel.rename("g", "f")
    kernel.rename("f", "g")
    with kernel.open("g", BOTH) as file:
        file.write(b"3", 2)
    return {"g": b"123"}


PLAYS: list[Play] = [
    write_sync_rename_write,
    write_rename_write,
    rename_over,
    rename_over_while_open,
    write_over_and_cut,
    append_twice,
    write_a_stream,
    write_and_delete,
    folders,
    rename_a_folder_with_an_open_file,
    rename_there_and_back,
]


def memory_store(_root: Path) -> Store:
    return MemoryStore()


class CopyingStore(MemoryStore):
    """A store that cannot rename, as containers of blobs: objects are copied one by one."""

    renaming = None  # type: ignore[assignment]  # as the contract of stores has it


def copying_store(_root: Path) -> Store:
    return CopyingStore()


def local_store(root: Path) -> Store:
    (root / "store").mkdir(parents=True)
    return LocalStore("local", root / "store")


@pytest.mark.parametrize("play", PLAYS)
@pytest.mark.parametrize("make", [memory_store, copying_store, local_store])
def test_dying_at_any_step_changes_nothing(
    make: Callable[[Path], Store], play: Play, tmp_path: Path
) -> None:
    """Whichever note or request a process does not live to see, no call fails and all arrives."""
    dies_at = 0
    deaths = 1
    while deaths:
        dies_at += 1
        root = tmp_path / str(dies_at)
        fates = iter([Fate(dies_at), Fate(0)])
        deaths = _act(play, root, make(root), fates, f"dies at {dies_at}")
    assert dies_at > 1


@pytest.mark.parametrize("play", PLAYS)
@pytest.mark.parametrize("make", [memory_store, copying_store, local_store])
def test_dying_again_and_again_changes_nothing(
    make: Callable[[Path], Store], play: Play, tmp_path: Path
) -> None:
    """Processes that die soon after each other, the same call under way, change nothing either."""
    seed = random.randrange(1_000_000)
    for number in range(ROUNDS):
        chance = random.Random(seed + number)
        root = tmp_path / str(number)
        lives = [Fate(chance.randrange(1, 12)) for _ in range(chance.randrange(2, 6))]
        _act(play, root, make(root), iter([*lives, Fate(0)]), f"seed {seed} + {number}")


def test_what_an_earlier_host_left_outlives_a_death(tmp_path: Path) -> None:
    """Bytes that nobody ever closed stay in the spool when a process of a later mount dies."""
    kernel = MortalKernel(tmp_path, memory_store(tmp_path), iter([Fate(1), Fate(0)]))
    try:
        left = kernel.spool.begin()
        os.write(left.fd, b"never closed")
        os.close(left.fd)
        kernel.write("f", b"written")
        found = [path.read_bytes() for path in kernel.spool.folder.iterdir()]
    finally:
        kernel.end()

    assert (kernel.deaths, found) == (1, [b"never closed"])


def _act(play: Play, root: Path, store: Store, fates: Iterator[Fate], note: str) -> int:
    """Play it, and look at what is left; how often the process died."""
    kernel = MortalKernel(root, store, fates)
    try:
        try:
            files = play(kernel)
            kernel.fate.dies_at = 0
            shown = {path: kernel.read(path) for path in kernel.walk() if not path.endswith("/")}
            stored = {
                info.key: b"".join(bytes(piece) for piece in store.read(info.key))
                for page in store.list()
                for info in page.objects
                if not info.key.endswith("/")
            }
            left = [path.name for path in kernel.spool.folder.iterdir()]
        finally:
            kernel.end()
        assert (shown, stored, left) == (files, files, [])
    except BaseException as error:
        error.add_note(note)
        raise
    return kernel.deaths
