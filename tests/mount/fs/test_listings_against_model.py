"""Listings beside sets of names: what was there all the time comes once, what never was does not."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)

from datastores.errors import Unavailable
from mount.cache.node_cache import NodeCache
from mount.fs.file_system import StoreFileSystem
from mount.fs.roll import Roll
from mount.fs.spool import Spool
from mount.fs.view import MountView
from tests.contracts.faulty_store import Fault, FaultyStore
from tests.mount.fs.conftest import QUOTA_BYTES, Mounted
from tests.mount.fs.kernel import WRITE, KernelInMiniature, OpenFile
from tests.mount.fs.readers import LiveStore, SlowReader

FILES = ["a-b", "a.b", "ab", "b", "c!", "c0", "d", *(f"e{number}" for number in range(8))]
FOLDERS = ["a", "c", "f"]
FILE, FOLDER = st.sampled_from(FILES), st.sampled_from(FOLDERS)
INDEXES = st.integers(0, 9)


@dataclass(eq=False)
class Watched:
    """A reader, the names that he must get, and those that he may get."""

    reader: SlowReader
    must: set[str]
    may: set[str]
    # What the kernel shows him without asking: names with their cookies.
    copy: list[tuple[str, int]] | None = None
    heard: list[tuple[str, int]] = field(default_factory=list)


class Listings(RuleBasedStateMachine):
    """One folder with its readers, this mount's changes and another client's."""

    view: ClassVar[dict[str, Any]] = {}
    # Where the mount forgot what the kernel's copy has in it, only the number of a place is left.
    has_copies = True

    def __init__(self) -> None:
        super().__init__()
        self.temporary = tempfile.TemporaryDirectory()
        root = Path(self.temporary.name)
        self.store = FaultyStore(LiveStore(page_size=3))
        self.cache = NodeCache.open(root / "cache", quota_bytes=QUOTA_BYTES, reserve_bytes=0)
        spool = Spool.open(root / "spool")
        self.fs = StoreFileSystem(self.store, self.cache, MountView(**self.view), spool)
        self.kernel = KernelInMiniature(self.fs)
        self.fs.start(self.kernel)
        self.mounted = Mounted(self.kernel, self.fs, self.store, spool)
        self.place = "d"
        self.here = set(FILES[::2])
        for name in self.here:
            self.store.inner.write(f"d/{name}", b"1")
        # Another client's doing, which this mount need not have seen.
        self.doubtful: set[str] = set()
        self.folders: set[str] = set()
        self.open: dict[str, OpenFile] = {}
        self.readers: list[Watched] = []
        self.copies: dict[Roll, list[tuple[str, int]]] = {}

    def path(self, name: str) -> str:
        return f"{self.place}/{name}"

    def came(self, name: str) -> None:
        self.here.add(name)
        self.doubtful.discard(name)
        for one in self.readers:
            one.may.add(name)

    def went(self, name: str) -> None:
        self.here.discard(name)
        self.doubtful.discard(name)
        for one in self.readers:
            one.must.discard(name)

    @rule(name=FILE)
    def write(self, name: str) -> None:
        if name not in self.open:
            self.kernel.write(self.path(name), b"own")
            self.came(name)

    @rule(name=FILE)
    def begin(self, name: str) -> None:
        if name not in self.here | self.doubtful:
            self.open[name] = self.kernel.open(self.path(name), WRITE, create=True)
            self.came(name)

    @rule(index=INDEXES)
    def finish(self, index: int) -> None:
        if self.open:
            self.open.pop(sorted(self.open)[index % len(self.open)]).close()

    @rule(name=FILE)
    def unlink(self, name: str) -> None:
        if name in self.here and name not in self.open:
            self.kernel.unlink(self.path(name))
            self.went(name)

    @rule(name=FILE, new=FILE)
    def rename(self, name: str, new: str) -> None:
        if name != new and name in self.here and not {name, new} & self.open.keys():
            self.kernel.rename(self.path(name), self.path(new))
            self.went(name)
            self.came(new)

    @rule(name=FOLDER)
    def mkdir(self, name: str) -> None:
        if name not in self.here:
            self.kernel.mkdir(self.path(name))
            self.came(name)

    @rule(name=FOLDER)
    def fill(self, name: str) -> None:
        if name in self.here:
            self.kernel.write(self.path(f"{name}/in"), b"1")
            self.folders.add(name)

    @rule(name=FOLDER)
    def empty(self, name: str) -> None:
        if name in self.folders:
            self.kernel.unlink(self.path(f"{name}/in"))
            self.folders.discard(name)

    @rule(name=FOLDER)
    def rmdir(self, name: str) -> None:
        if name in self.here and name not in self.folders:
            self.kernel.rmdir(self.path(name))
            self.went(name)

    @rule()
    def move(self) -> None:
        if not self.open:
            new = "moved" if self.place == "d" else "d"
            self.kernel.rename(self.place, new)
            self.place = new

    @rule(name=FILE)
    def somebody_writes(self, name: str) -> None:
        if name not in self.here:
            self.store.inner.write(self.path(name), b"theirs")
            self.doubtful.add(name)
            for one in self.readers:
                one.may.add(name)

    @rule(name=FILE)
    def somebody_deletes(self, name: str) -> None:
        if name in self.here and name not in self.open:
            self.store.inner.delete(self.path(name))
            self.went(name)
            self.doubtful.add(name)

    @rule()
    def refresh(self) -> None:
        """What the store has, and what only this mount knows, is all of the next listing."""
        self.fs.refresh()
        for name in list(self.doubtful):
            is_there = any(
                info.key == self.path(name)
                for page in self.store.inner.list(self.path(name))
                for info in page.objects
            )
            (self.came if is_there else self.went)(name)
        assert sorted(self.kernel.list(self.place)) == sorted(self.here)

    @rule()
    def forget(self) -> None:
        self.kernel.forget_all()

    @rule()
    def lifetimes_end(self) -> None:
        for node in self.fs._tree.table.nodes():
            if node.roll:
                node.roll.until = 0.0

    @rule()
    def kernel_drops_its_copies(self) -> None:
        for one in self.readers:
            one.copy = None

    @precondition(lambda self: len(self.readers) < 3)
    @rule()
    def opendir(self) -> None:
        inode = self.kernel.look(self.place).inode
        opened = self.fs.opendir(inode, wait=True)
        told = self.fs._tree.table.at(inode).told
        if not opened.keep_cache:
            self.kernel_drops_its_copies()
            told = None
        copy = self.copies.get(told) if self.has_copies and told else None
        self.readers.append(
            Watched(
                SlowReader(self.kernel, opened.handle),
                self.here - self.doubtful,
                self.here | self.doubtful,
                copy,
            )
        )

    @rule(index=INDEXES, most=st.integers(1, 9), fails=st.sampled_from([False, False, True]))
    def read(self, index: int, most: int, fails: bool) -> None:
        if not self.readers:
            return
        one = self.readers[index % len(self.readers)]
        reader = one.reader
        if one.copy is not None:
            cookies = [0, *(cookie for _, cookie in one.copy)]
            some = one.copy[cookies.index(reader.cookie) :][:most]
            one.heard += some
            reader.cookie = some[-1][1] if some else reader.cookie
            reader.is_done = not some
        else:
            call = "list_folder", self.store.count("list_folder") + 1
            if fails:
                self.store.plan(call[0], Fault(error=Unavailable("m", None, "no")), nth=call[1])
            try:
                for _ in range(most):
                    one.heard += [(name, reader.cookie) for name in reader.some(1)]
            except Unavailable:
                assert fails
            finally:
                self.store._plans.pop(call, None)
        if reader.is_done:
            self.end(one)

    # Among so many changes somebody has to read.
    @rule(index=INDEXES)
    def read_a_little(self, index: int) -> None:
        self.read(index, 2, fails=False)

    @rule(index=INDEXES)
    def read_more(self, index: int) -> None:
        self.read(index, 5, fails=False)

    @precondition(lambda self: not self.readers)
    @rule()
    def list_all(self) -> None:
        self.opendir()
        while self.readers:
            self.read(0, 9, fails=False)

    @precondition(lambda self: len(self.readers) == 1 and self.readers[0].copy)
    @rule(most=st.integers(1, 9))
    def remove_what_was_read(self, most: int) -> None:
        self.read(0, most, fails=False)
        if self.readers:
            for name, _ in self.readers[0].heard:
                self.unlink(name)

    def end(self, one: Watched) -> None:
        names = Counter(name for name, _ in one.heard)
        assert one.must <= names.keys() <= one.may
        assert all(names[name] == 1 for name in one.must)
        readings = self.fs._folders._readings
        roll = readings[one.reader.handle].roll
        if one.copy is None and roll and all(c >> 32 == roll.base >> 32 for _, c in one.heard):
            self.copies[roll] = one.heard
        self.leave(one)

    def leave(self, one: Watched) -> None:
        self.readers.remove(one)
        self.fs.releasedir(one.reader.handle)

    @rule(index=INDEXES)
    def stop_half_way(self, index: int) -> None:
        if self.readers:
            self.leave(self.readers[index % len(self.readers)])

    def teardown(self) -> None:
        try:
            for file in self.open.values():
                file.close()
            for one in list(self.readers):
                while not one.reader.is_done:
                    self.read(self.readers.index(one), 9, fails=False)
            self.mounted.check()
        finally:
            self.fs.stop()
            self.cache.close()
            self.temporary.cleanup()


class Believed(Listings):
    """With the usual lifetimes."""


class Doubted(Listings):
    """Nothing is believed that was heard before."""

    view: ClassVar[dict[str, Any]] = {
        "attribute_seconds": 0.0,
        "name_seconds": 0.0,
        "absent_seconds": 0.0,
    }


class Forgotten(Listings):
    """Most of what was listed is not kept."""

    view: ClassVar[dict[str, Any]] = {"facts": 4}
    has_copies = False


@pytest.mark.parametrize("machine", [Believed, Doubted, Forgotten])
def test_names_that_stay_are_listed_once(machine: type[Listings]) -> None:
    """Whoever changes what while a folder is read: each name that was there all along comes once."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=60,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
