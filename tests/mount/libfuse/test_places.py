"""Paths and the lookups that are held for them."""

from __future__ import annotations

import pytest

from mount.libfuse.places import MOST_PATHS, Places
from tests.mount.memory_filesystem import Behaviour, MemoryFileSystem


def test_a_path_is_asked_for_once_within_its_lifetime() -> None:
    """A hundred uses of a deep path look each of its names up once."""
    filesystem = MemoryFileSystem()
    node = filesystem.add("a/b/c", b"x")
    places = Places(filesystem)

    for _ in range(100):
        with places.at(b"/a/b/c", wait=True) as inode:
            assert inode == node.inode

    assert filesystem.calls["lookup"] == 3


def test_a_path_without_a_lifetime_is_asked_for_each_time() -> None:
    """A file system that allows no memory is asked anew, and gets every lookup back."""
    filesystem = MemoryFileSystem(Behaviour(name_seconds=0))
    node = filesystem.add("f", b"x")
    places = Places(filesystem)

    for _ in range(5):
        with places.at(b"/f", wait=True):
            pass

    assert (filesystem.calls["lookup"], node.lookups) == (5, 1)
    places.close()
    assert (node.lookups, filesystem.broken_rules) == (0, [])


def test_a_place_in_use_outlives_its_path() -> None:
    """A path that is dropped while it is used gives its lookup back with its last user."""
    filesystem = MemoryFileSystem()
    node = filesystem.add("folder/f", b"x")
    places = Places(filesystem)

    with places.at(b"/folder/f", wait=True):
        places.drop(b"/folder")
        assert node.lookups == 1

    assert (node.lookups, filesystem.find("folder").lookups) == (0, 0)


def test_a_folder_takes_its_own_paths_along_and_no_others() -> None:
    """Dropping a folder forgets what is below it, not a neighbour whose name begins alike."""
    filesystem = MemoryFileSystem()
    inside, beside = filesystem.add("a/f", b""), filesystem.add("ab", b"")
    places = Places(filesystem)
    for path in (b"/a/f", b"/ab"):
        places.look_up(path, wait=True)

    places.drop(b"/a")

    assert (inside.lookups, beside.lookups) == (0, 1)


def test_the_oldest_paths_make_room() -> None:
    """No more lookups are held than there is room for, however many names a folder has."""
    filesystem = MemoryFileSystem()
    nodes = [filesystem.add(f"f{n}", b"") for n in range(MOST_PATHS + 10)]
    places = Places(filesystem)

    for n in range(len(nodes)):
        places.look_up(b"/f%d" % n, wait=True)

    assert [node.lookups for node in nodes] == [0] * 10 + [1] * MOST_PATHS


def test_a_name_that_is_known_to_be_missing_is_missing() -> None:
    """An entry without an inode is ENOENT here: libfuse keeps no missing names."""
    places = Places(MemoryFileSystem(Behaviour(negative_seconds=60)))

    with pytest.raises(FileNotFoundError):
        places.look_up(b"/nothing", wait=True)
