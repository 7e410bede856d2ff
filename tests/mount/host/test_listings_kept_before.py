"""What the kernel has kept of a process that was killed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mount.fs.contract import ROOT_INODE, Access
from mount.fs.second_life import Held
from tests.mount.host.mortal import bury
from tests.mount.host.test_interrupted import Mortal


@pytest.fixture(name="mortal")
def fixture_mortal(tmp_path: Path) -> Iterator[Mortal]:
    """A file system that may die."""
    made = Mortal(tmp_path)
    yield made
    made.end()


def test_listings_of_a_killed_process_are_not_believed(mortal: Mortal) -> None:
    """The next process has the kernel drop them, of folders that are open, too, and goes on."""
    for name in "abcd":
        mortal.store.inner.write(f"d/{name}", b"1")
    kernel = mortal.kernel
    inode = kernel.look("d").inode
    kernel.list("d")
    opened = kernel.fs.opendir(inode, wait=True)
    first = kernel.page(opened.handle, 0, 2)

    bury(mortal.fs)
    mortal.fs = kernel.fs = mortal._live()
    held = Held(opened.handle, inode, Access.READ, is_folder=True, is_backed=False)
    mortal.fs.revive([held])
    mortal.fs.start(kernel)

    again = kernel.fs.opendir(inode, wait=True)
    rest = kernel.page(opened.handle, first[-1].cookie, 10)
    looked = kernel.asking(lambda wait: kernel.fs.getattr(inode, None, wait=wait))
    for handle in (again.handle, opened.handle):
        kernel.fs.releasedir(handle)
    mortal.fs._notices.stop(10)

    assert (opened.keep_cache, again.keep_cache) == (True, False)
    assert [child.name for child in (*first, *rest)] == [b"a", b"b", b"c", b"d"]
    assert inode in kernel.forgotten_data
    assert (looked.attribute_seconds, kernel.look("").inode) == (0.0, ROOT_INODE)


def test_who_removes_what_he_reads_misses_nothing_after_a_kill(mortal: Mortal) -> None:
    """The next process goes on behind the name that the one before gave last, where that is now."""
    kept = [f"{number:03}" for number in range(40)]
    for name in kept:
        mortal.store.inner.write(f"d/{name}", b"1")
    kernel = mortal.kernel
    inode = kernel.look("d").inode
    opened = kernel.fs.opendir(inode, wait=True)
    first = kernel.page(opened.handle, 0, 20)[:15]  # as many as there was room for
    for child in first:
        kernel.unlink(f"d/{child.name.decode()}")

    bury(mortal.fs)
    mortal.fs = kernel.fs = mortal._live()
    mortal.fs.revive([Held(opened.handle, inode, Access.READ, is_folder=True, is_backed=False)])
    mortal.fs.start(kernel)
    rest = kernel.page(opened.handle, first[-1].cookie, 100)
    end = kernel.page(opened.handle, rest[-1].cookie, 100)
    kernel.fs.releasedir(opened.handle)

    assert [child.name.decode() for child in (*first, *rest, *end)] == kept
