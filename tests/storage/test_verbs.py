"""Conveniences behave alike on flat stores, on stores without powers and on real folders."""

from __future__ import annotations

import array
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from datastores.errors import NotFound, PreconditionFailed, Unavailable
from datastores.storage.contract import Store
from datastores.storage.local import LocalStore
from datastores.storage.memory import MemoryStore
from datastores.storage.verbs import (
    exists,
    move,
    objects_below,
    pieces,
    read_bytes,
    remove_below,
)
from tests.contracts.faulty_store import Fault, FaultyStore
from tests.contracts.store_contract import everything, folder_names, keys

if TYPE_CHECKING:
    from datastores.storage.contract import Body


class NoRenaming(FaultyStore):
    """A store that copies and cannot rename."""

    @property
    def renaming(self) -> None:
        return None


class Bare(NoRenaming):
    """A store without powers."""

    @property
    def copying(self) -> None:
        return None

    @property
    def folders(self) -> None:
        return None


@pytest.fixture(params=["memory", "no renaming", "bare", "local"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    stores: dict[str, Store] = {
        "memory": MemoryStore("scratch", page_size=2),
        "no renaming": NoRenaming(MemoryStore("scratch", page_size=2)),
        "bare": Bare(MemoryStore("scratch", page_size=2)),
        "local": LocalStore("scratch", tmp_path),
    }
    return stores[request.param]


def fill(store: Store, *names: str) -> None:
    for name in names:
        store.write(name, name.encode())


def test_read_bytes(store: Store) -> None:
    """The whole object comes back, pieces joined."""
    store.write("file", b"0123456789" * 100_000)

    assert read_bytes(store, "file") == b"0123456789" * 100_000


def test_exists(store: Store) -> None:
    """Objects exist; folders and nothing do not."""
    fill(store, "folder/file")

    assert [exists(store, key) for key in ("folder/file", "folder", "no")] == [True, False, False]


def test_exists_does_not_guess() -> None:
    """A store that cannot answer, or is itself missing, raises instead of saying no."""
    faulty = FaultyStore(MemoryStore("scratch"))
    faulty.plan("stat", Fault(error=Unavailable("scratch", "file")), nth=1)
    faulty.plan("stat", Fault(error=NotFound("scratch")), nth=2)

    for error in (Unavailable, NotFound):
        with pytest.raises(error):
            exists(faulty, "file")


def test_objects_below_a_folder(store: Store) -> None:
    """A folder gives what is in it at any depth; `foobar` is not below `foo`."""
    fill(store, "foo/a", "foo/b/c", "foobar", "other")

    assert sorted(info.key for info in objects_below(store, "foo")) == ["foo/a", "foo/b/c"]


def test_objects_below_a_file(store: Store) -> None:
    """A place that is a file gives that file, with its size."""
    fill(store, "foo", "foobar")

    assert [(info.key, info.size) for info in objects_below(store, "foo")] == [("foo", 3)]


def test_objects_below_the_root(store: Store) -> None:
    """The root gives everything; a place that is not there gives nothing."""
    fill(store, "a", "b/c")

    assert sorted(info.key for info in objects_below(store)) == ["a", "b/c"]
    assert list(objects_below(store, "missing")) == []


def test_objects_below_leaves_markers_out() -> None:
    """Folder markers are no objects."""
    store = MemoryStore("scratch")
    fill(store, "foo/", "foo/a", "foo/b/")

    assert [info.key for info in objects_below(store, "foo")] == ["foo/a"]


def test_move(store: Store) -> None:
    """A moved object is under the new key alone, replacing what was there."""
    fill(store, "old", "new", "older")

    move(store, "old", "new")

    assert everything(store) == {"new": b"old", "older": b"older"}


def test_move_keeps_metadata() -> None:
    """Without powers, a move carries the metadata along."""
    store = Bare(MemoryStore("scratch"))
    store.write("old", b"x", metadata={"owner": "vision"})

    move(store, "old", "new")

    assert dict(store.stat("new").metadata) == {"owner": "vision"}


def test_move_to_itself(store: Store) -> None:
    """Moving an object to its own key keeps it."""
    fill(store, "file")

    move(store, "file", "file")

    assert everything(store) == {"file": b"file"}


def test_move_of_nothing(store: Store) -> None:
    """Moving what is not there is `NotFound`, also to its own key."""
    for target in ("new", "old"):
        with pytest.raises(NotFound):
            move(store, "old", target)


def test_move_of_a_changing_object() -> None:
    """An object replaced while it is copied is not deleted, since its new bytes were not moved."""
    store = Bare(MemoryStore("scratch"))
    store.write("old", b"first")

    def replace() -> None:
        store.inner.write("old", b"second")

    store.plan("write", Fault(after=replace), nth=2)

    with pytest.raises(PreconditionFailed):
        move(store, "old", "new")

    assert everything(store) == {"old": b"second", "new": b"first"}


def test_remove_below(store: Store) -> None:
    """A folder goes with everything in it, empty folders included, and no neighbour does."""
    fill(store, "foo/a", "foo/b/c", "foo/b/d", "foobar", "other/e")
    if store.folders:
        store.folders.make_folder("foo/empty/deep")

    removed = remove_below(store, "foo")

    assert removed == 3
    assert keys(store.list()) == ["foobar", "other/e"]
    assert folder_names(store.list_folder()) == ["other"]


def test_remove_below_a_file(store: Store) -> None:
    """A place that is a file is that file."""
    fill(store, "foo", "foobar")

    assert remove_below(store, "foo") == 1
    assert keys(store.list()) == ["foobar"]


def test_remove_below_the_root(store: Store) -> None:
    """The root is emptied and stays usable; a second time there is nothing to remove."""
    fill(store, "a", "b/c", "b/d/e")

    assert [remove_below(store), remove_below(store)] == [3, 0]
    assert folder_names(store.list_folder()) == []
    fill(store, "again")


def test_remove_below_reports_failures() -> None:
    """A delete that fails comes out; it is not counted as done."""
    faulty = FaultyStore(MemoryStore("scratch"))
    fill(faulty.inner, "foo/a", "foo/b")
    faulty.plan("delete", Fault(error=Unavailable("scratch", "foo/b")), nth=2)

    with pytest.raises(Unavailable):
        remove_below(faulty, "foo")

    assert len(keys(faulty.inner.list())) == 1


def test_pieces() -> None:
    """Every kind of body becomes views of single bytes, without empty ones."""
    numbers = memoryview(array.array("I", [0x64636261]))
    every_second = memoryview(b"a-b-c-")[::2]

    bodies: list[Body] = [b"abc", b"", numbers, every_second, [b"a", b"", bytearray(b"b")], []]

    got = [[bytes(piece) for piece in pieces(body)] for body in bodies]

    assert got == [[b"abc"], [], [b"abcd"], [b"abc"], [b"a", b"b"], []]
