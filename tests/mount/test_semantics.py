"""The promises of `mount/SEMANTICS.md`: each has its test, and those without another place."""

from __future__ import annotations

import ast
import re
import time
from pathlib import Path

import pytest

from datastores.errors import NotFound, Unavailable
from datastores.storage.memory import MemoryStore
from mount.fs.contract import ROOT_INODE, Change, Kind
from tests.contracts.faulty_store import Fault
from tests.mount.frameworks.served import container_store
from tests.mount.fs.conftest import Mounted, MountIt, mount_it, mounted, put, stored
from tests.mount.fs.kernel import BOTH, READ, WRITE
from tests.servers.azurite import Azurite

ROOT = Path(__file__).parents[2]
PROMISE = re.compile(r"^(\d+)\. .*\(`(tests/[\w/]+\.py)::(test_\w+)`\)$")

__all__ = ["mount_it", "mounted"]


def test_every_promise_names_a_test_that_exists() -> None:
    """Promises are numbered without a gap, and each names a function that is there."""
    lines = (ROOT / "mount" / "SEMANTICS.md").read_text("utf-8").splitlines()
    numbered = [line for line in lines if re.match(r"\d+\. ", line)]
    promises = [match.groups() for line in numbered if (match := PROMISE.match(line))]

    missing = [name for _, path, name in promises if name not in functions(ROOT / path)]

    assert missing == []
    assert len(promises) == len(numbered)
    assert [int(number) for number, _, _ in promises] == list(range(1, len(promises) + 1))


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_another_clients_change_is_seen_after_the_lifetime(mount_it: MountIt) -> None:
    """With lifetimes of no length, every change of another client shows at the next look."""
    mounted = mount_it(name_seconds=0.0, attribute_seconds=0.0, absent_seconds=0.0)
    seen = []
    for body in (b"1", b"22", b"333"):
        put(mounted, "d/x", body)
        seen.append((mounted.kernel.stat("d/x").size, mounted.kernel.read("d/x")))
    mounted.store.inner.delete("d/x")

    assert seen == [(1, b"1"), (2, b"22"), (3, b"333")]
    assert not mounted.kernel.exists("d/x")


def test_numbers_survive_forgetting_and_renaming(mounted: Mounted) -> None:
    """A file has the number it had, after the kernel forgot it and after it was renamed."""
    put(mounted, "a", b"1")
    first = mounted.kernel.stat("a").inode
    mounted.kernel.forget_all()
    again = mounted.kernel.stat("a").inode
    mounted.kernel.rename("a", "b")
    mounted.kernel.forget_all()
    mounted.kernel.write("a", b"another")

    assert (again, mounted.kernel.stat("b").inode) == (first, first)
    assert mounted.kernel.stat("a").inode != first


def test_emptied_folder_stays(mounted: Mounted) -> None:
    """A folder whose last file was deleted here is still there, empty, until rmdir."""
    put(mounted, "d/x", b"1")
    mounted.kernel.unlink("d/x")

    assert (mounted.kernel.list(), mounted.kernel.list("d")) == (["d"], [])
    mounted.kernel.rmdir("d")
    assert mounted.kernel.list() == []


@pytest.mark.parametrize("size", [0, 10, 300_000])
def test_closed_and_synced_bytes_are_in_the_store(mount_it: MountIt, size: int) -> None:
    """After fsync, and after close, another client reads what was written."""
    mounted = mount_it(block_bytes=64 * 1024)
    body = bytes(range(256)) * (size // 256 + 1)
    with mounted.kernel.open("x", WRITE, create=True) as file:
        file.write(body[:size])
        file.fsync()
        assert stored(mounted, "x") == body[:size]
        file.write(b"end", size)

    assert stored(mounted, "x") == body[:size] + b"end"


def test_file_created_for_reading_is_stored_when_it_is_let_go(mounted: Mounted) -> None:
    """A file made by a reader's open is shown at once, and is in the store once it is let go."""
    with mounted.kernel.open("x", READ, create=True) as file:
        assert (file.read(), mounted.kernel.stat("x").size) == (b"", 0)
        with pytest.raises(NotFound):
            stored(mounted, "x")

    assert stored(mounted, "x") == b""


def test_written_bytes_are_seen_before_they_are_stored(mounted: Mounted) -> None:
    """A reader that opened before the write, and one after it, see the written bytes."""
    put(mounted, "x", b"old")
    early = mounted.kernel.open("x")
    with mounted.kernel.open("x", BOTH) as writer, early:
        writer.write(b"new and longer")
        with mounted.kernel.open("x") as late:
            assert early.read() == late.read() == writer.read() == b"new and longer"
        assert stored(mounted, "x") == b"old"
        assert mounted.kernel.stat("x").size == 14


def test_other_clients_never_see_half_a_file(mount_it: MountIt) -> None:
    """While a large file is written and streamed, the store shows the old one."""
    mounted = mount_it(block_bytes=64 * 1024, spool_bytes=128 * 1024)
    put(mounted, "x", b"old")
    with mounted.kernel.open("x", WRITE, truncate=True) as file:
        for at in range(0, 1 << 20, 1 << 16):
            file.write(b"n" * (1 << 16), at)
            assert stored(mounted, "x") == b"old"

    assert stored(mounted, "x") == b"n" * (1 << 20)


def test_deleted_file_lives_while_it_is_open(mounted: Mounted) -> None:
    """A file deleted while it is open is read and written on, and its name stays free."""
    put(mounted, "x", b"old")
    with mounted.kernel.open("x", BOTH) as file:
        mounted.kernel.unlink("x")
        file.write(b"more", 3)
        file.fsync()
        assert (file.read(), mounted.kernel.exists("x")) == (b"oldmore", False)

    assert [i.key for page in mounted.store.inner.list() for i in page.objects] == []


def test_set_attributes_are_kept(mounted: Mounted) -> None:
    """chmod, chown and utimens show until the unmount; a time set before close is stored."""
    with mounted.kernel.open("x", WRITE, create=True) as file:
        file.write(b"1")
        mounted.kernel.change("x", Change(modified_ns=1_500_000_000_123_456_789))
    mounted.kernel.change("x", Change(permissions=0o600, owner=7, group=8))
    mounted.kernel.forget_all()

    kept = mounted.kernel.stat("x")
    metadata = mounted.store.inner.stat("x").metadata

    assert (kept.permissions, kept.owner, kept.group) == (0o600, 7, 8)
    assert kept.modified_ns == 1_500_000_000_123_456_789
    assert metadata == {"mtime": "2017-07-14T02:40:00.123456789Z"}
    mounted.kernel.unlink("x")


def test_another_clients_empty_folder_is_found_by_name(azurite: Azurite, mount_it: MountIt) -> None:
    """A folder that is no more than a marker is there for who asks for its name first."""
    with container_store(azurite, azurite.container()) as store:
        assert store.folders
        store.write("full/x", b"1")
        store.folders.make_folder("empty")
        store.folders.make_folder("full/empty")
        kernel = mount_it(store).kernel

        seen = [kernel.stat(path).kind for path in ("empty", "full/empty")]

        assert seen == [Kind.FOLDER, Kind.FOLDER]
        assert not kernel.exists("full/nothing")


def test_without_lifetimes_everything_works(mount_it: MountIt) -> None:
    """With lifetimes of no length files are made, found one by one, moved and removed."""
    mounted = mount_it(name_seconds=0.0, attribute_seconds=0.0, absent_seconds=0.0)
    kernel = mounted.kernel
    kernel.mkdir("d")
    for number in range(6):
        kernel.write(f"d/{number}", b"%d" % number)
    put(mounted, "d/other", b"theirs")
    kernel.forget_all()

    sizes = [kernel.stat(f"d/{name}").size for name in (0, 1, 2, 3, 4, 5, "other")]
    kernel.rename("d/0", "d/zero")
    kernel.rename("d", "e")
    kernel.unlink("e/other")

    assert sizes == [1] * 6 + [6]
    assert kernel.list("e") == ["1", "2", "3", "4", "5", "zero"]
    assert (kernel.read("e/zero"), kernel.exists("d")) == (b"0", False)


@pytest.mark.parametrize("then", ["unlinked", "renamed"])
def test_replaced_file_does_not_come_back(mounted: Mounted, then: str) -> None:
    """A file replaced by one that is not stored yet is gone when that one leaves the name."""
    put(mounted, "x", b"old")
    with mounted.kernel.open("new", WRITE, create=True) as file:
        file.write(b"new")
        mounted.kernel.rename("new", "x")
        if then == "unlinked":
            mounted.kernel.unlink("x")
        else:
            mounted.kernel.rename("x", "y")

    keys = [info.key for page in mounted.store.inner.list() for info in page.objects]
    assert keys == ([] if then == "unlinked" else ["y"])


class FlatStore(MemoryStore):
    """A store that renames nothing, as a blob container."""

    @property
    def renaming(self) -> None:  # type: ignore[override]  # less than its parent can
        return None


def test_broken_rename_of_a_folder_loses_nothing(mount_it: MountIt) -> None:
    """Where the store gives up half way, every file is shown under the name it has there."""
    mounted = mount_it(FlatStore())
    kernel = mounted.kernel
    kernel.mkdir("d")
    kernel.mkdir("d/empty")
    for number in range(6):
        put(mounted, f"d/{number}", b"%d" % number)
    assert len(kernel.list("d")) == 7
    mounted.store.plan("copy", Fault(Unavailable("memory", "d/3", "it is tired; try again")), nth=4)

    with pytest.raises(Unavailable):
        kernel.rename("d", "moved")
    kernel.forget_all()
    by_name = [f"d/{number}" for number in range(6) if kernel.exists(f"d/{number}")]
    found = [path for path in kernel.walk() if not path.endswith("/")]

    assert by_name == [path for path in found if path.startswith("d/")]
    assert sorted(kernel.read(path) for path in found) == [b"%d" % number for number in range(6)]
    assert {path: stored(mounted, path) for path in found} == {
        path: kernel.read(path) for path in found
    }


@pytest.mark.parametrize("kind", [MemoryStore, FlatStore])
def test_empty_folders_move_with_the_folder_they_are_in(
    mount_it: MountIt, kind: type[MemoryStore]
) -> None:
    """A folder is renamed with empty folders at any depth, and nothing stays behind."""
    kernel = mount_it(kind()).kernel
    for path in ("d", "d/empty", "d/e", "d/e/empty"):
        kernel.mkdir(path)
    kernel.write("d/e/f", b"1")

    kernel.rename("d", "moved")
    kernel.forget_all()

    assert sorted(kernel.walk()) == [
        "moved/",
        "moved/e/",
        "moved/e/empty/",
        "moved/e/f",
        "moved/empty/",
    ]


def test_refresh_takes_back_what_was_said_not_to_be_there(mounted: Mounted) -> None:
    """After a refresh the kernel asks again for a name that a listing of its folder did not have."""
    put(mounted, "a", b"1")
    kernel = mounted.kernel
    assert (kernel.list(), kernel.exists("late")) == (["a"], False)
    put(mounted, "late", b"here")
    mounted.fs.refresh()

    deadline = time.monotonic() + 10
    while (ROOT_INODE, b"late") not in kernel.forgotten_names:
        assert time.monotonic() < deadline
        time.sleep(0.01)  # notices come from a thread of their own, which tells nobody
    assert kernel.read("late") == b"here"
