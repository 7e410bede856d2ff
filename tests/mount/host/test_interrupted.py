"""Calls in the middle of which the process died, and that the kernel asks for again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from datastores.errors import AlreadyExists
from datastores.storage.memory import MemoryStore
from datastores.storage.verbs import read_bytes
from mount.cache.node_cache import NodeCache
from mount.fs.chronicle import Chronicle
from mount.fs.contract import WouldWait
from mount.fs.revival import RevivableFileSystem
from mount.fs.spool import Spool
from mount.fs.view import MountView
from tests.contracts.faulty_store import Fault, FaultyStore
from tests.mount.fs.kernel import BOTH, KernelInMiniature, OpenFile
from tests.mount.host.mortal import bury, held_by_kernel


class Death(BaseException):
    """The process is killed at this point."""


class Mortal:
    """A file system that dies when a fault of its store says so."""

    def __init__(self, root: Path) -> None:
        self.store = FaultyStore(MemoryStore())
        self.cache = NodeCache.open(root / "cache", quota_bytes=1 << 30, reserve_bytes=0)
        self.spool = Spool.open(root / "spool")
        self.notes = [os.memfd_create(name) for name in ("chronicle", "lookups")]
        self.open: list[OpenFile] = []
        self.fs = self._live()
        self.kernel = KernelInMiniature(self.fs)
        self.fs.start(self.kernel)

    def die(self, *, without_cache: bool = False) -> None:
        bury(self.fs)
        if without_cache:
            self.cache.clear()
        self.fs = self._live()
        self.fs.revive(held_by_kernel(one for one in self.open if one.is_open))
        self.kernel.fs = self.fs
        self.fs.start(self.kernel)

    def end(self) -> None:
        self.fs.stop()
        self.cache.close()
        for fd in self.notes:
            os.close(fd)

    def _live(self) -> RevivableFileSystem:
        chronicle = Chronicle.open(*self.notes)
        return RevivableFileSystem(self.store, self.cache, MountView(), self.spool, chronicle)


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Mortal]:
    made = Mortal(tmp_path)
    yield made
    made.end()


def killed_in(mortal: Mortal, method: str) -> None:
    """The next call of this method is carried out, and its caller dies of the answer."""
    nth = mortal.store.count(method) + 1
    mortal.store.plan(method, Fault(raises_after=Death()), nth=nth)  # type: ignore[arg-type]  # no error: a death


def test_a_rename_that_happened_is_followed(mortal: Mortal) -> None:
    """A file that is written while a rename of it is cut off is stored under its new name."""
    file = mortal.kernel.open("a", BOTH, create=True)
    mortal.open.append(file)
    file.write(b"one")
    file.fsync()
    file.write(b"two", 3)
    file.fsync()
    killed_in(mortal, "rename")
    with pytest.raises(Death):
        mortal.kernel.rename("a", "b")
    mortal.die()
    mortal.fs.rename(1, b"a", 1, b"b", replace=True, wait=True)
    file.write(b"three", 6)
    file.close()

    assert [key for key in ("a", "b") if mortal.kernel.exists(key)] == ["b"]
    assert read_bytes(mortal.store.inner, "b") == b"onetwothree"
    assert list(mortal.spool.folder.iterdir()) == []


def test_a_rename_of_what_is_not_there_still_fails(mortal: Mortal) -> None:
    """Only a rename that an earlier process began is taken for done."""
    mortal.kernel.write("b", b"another")
    mortal.die()

    with pytest.raises(FileNotFoundError):
        mortal.fs.rename(1, b"a", 1, b"b", replace=True, wait=True)


def test_a_new_file_that_was_stored_is_not_in_its_own_way(mortal: Mortal) -> None:
    """A file made with O_EXCL whose upload was cut off after it arrived can be closed."""
    file = mortal.kernel.open("a", BOTH, create=True, exclusive=True)
    mortal.open.append(file)
    file.write(b"mine")
    killed_in(mortal, "write")
    with pytest.raises(Death):
        file.flush()
    mortal.die()
    file.close()

    assert read_bytes(mortal.store.inner, "a") == b"mine"


def test_somebody_elses_new_file_stays(mortal: Mortal) -> None:
    """A file made with O_EXCL that another client made meanwhile, too, is not replaced."""
    file = mortal.kernel.open("a", BOTH, create=True, exclusive=True)
    mortal.open.append(file)
    file.write(b"mine")
    mortal.store.inner.write("a", b"hers")
    with pytest.raises(AlreadyExists):
        file.flush()
    mortal.die()

    with pytest.raises(AlreadyExists):
        file.close()
    assert read_bytes(mortal.store.inner, "a") == b"hers"


def test_an_append_that_is_asked_for_again_is_not_doubled(mortal: Mortal) -> None:
    """The kernel repeats an append at its offset, and the bytes are there once."""
    mortal.kernel.write("log", b"old ")
    file = mortal.kernel.open("log", BOTH, append=True)
    mortal.open.append(file)
    file.write(b"line", 4)
    mortal.die()
    file.write(b"line", 4)
    file.write(b" more", 8)
    file.close()

    assert read_bytes(mortal.store.inner, "log") == b"old line more"


def test_a_reader_follows_what_is_written_after_a_death(mortal: Mortal) -> None:
    """A handle opened before a death sees what this mount writes after it, be its version gone."""
    mortal.kernel.write("a", b"one")
    reader = mortal.kernel.open("a")
    mortal.open.append(reader)
    mortal.die(without_cache=True)
    mortal.kernel.write("a", b"two")

    assert reader.read() == b"two"
    reader.close()


def test_a_reader_keeps_its_version_or_none(mortal: Mortal) -> None:
    """A handle opened before a death never reads what another client put there since."""
    mortal.kernel.write("a", b"one")
    reader = mortal.kernel.open("a")
    mortal.open.append(reader)
    mortal.store.inner.write("a", b"hers")
    mortal.die(without_cache=True)

    with pytest.raises(OSError, match=r"[Ss]tale"):
        reader.read()
    reader.close()


def test_a_handle_that_never_reached_the_kernel_is_closed(mortal: Mortal) -> None:
    """What was opened for a caller who got no answer holds nothing after the death."""
    mortal.kernel.write("a", b"alpha")
    mortal.kernel.open("a")
    mortal.die()

    assert mortal.fs.counters().open_files == 0


def test_lookups_are_exact(mortal: Mortal) -> None:
    """What the kernel gives back after a death is all that it was given before."""
    for name in "abc":
        mortal.kernel.write(name, b"x")
    for _ in range(3):
        mortal.kernel.list()
        mortal.kernel.stat("a")
    mortal.die()
    assert mortal.fs.counters().lookups == sum(mortal.kernel.lookups.values())
    mortal.kernel.forget_all()

    assert mortal.fs.counters().lookups == 0
    with pytest.raises(WouldWait):
        mortal.fs.rename(1, b"a", 1, b"b", replace=True, wait=False)
