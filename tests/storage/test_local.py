"""A local folder keeps every promise, whatever other programs do to it."""

from __future__ import annotations

import errno
import os
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from datastores.errors import (
    Corrupted,
    DiskFull,
    NameRejected,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    StoreError,
    Unsupported,
)
from datastores.storage.contract import Store
from datastores.storage.local import STALE_SECONDS, TEMPORARY, LocalStore
from datastores.storage.local_file import translated
from tests.contracts.store_contract import (
    NINE_MIB,
    CopyingContract,
    FoldersContract,
    RenamingContract,
    StoreContract,
    content,
    folder_names,
    keys,
)
from tests.registry.processes import forked


class TestLocalStore(RenamingContract, CopyingContract, FoldersContract, StoreContract):
    """Every promise, on a real folder."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        store = LocalStore("scratch", tmp_path)
        yield store
        store.close()
        assert [path.name for path in tmp_path.glob(".*")] in ([], [".hidden"])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def store(root: Path) -> Iterator[LocalStore]:
    store = LocalStore("scratch", root)
    yield store
    store.close()


def files(root: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones included."""
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def test_files_are_plain(store: LocalStore, root: Path) -> None:
    """Objects are ordinary files at their keys, and nothing else is left in the folder."""
    store.write("a/b c/file", b"x")
    store.close()

    assert files(root) == {"a/b c/file": b"x"}
    assert sorted(path.name for path in root.iterdir()) == ["a"]


def test_files_obey_the_umask(store: LocalStore, root: Path) -> None:
    """A written file has the mode that any new file of this process has."""
    (root / "plain").touch()

    store.write("file", b"x")

    assert (root / "file").stat().st_mode == (root / "plain").stat().st_mode


@pytest.mark.parametrize("act", ["stat", "read", "write", "delete", "rename", "make_folder"])
def test_link_out_of_the_folder_is_refused(store: LocalStore, root: Path, act: str) -> None:
    """No call goes through a link that leaves the root, and what is outside stays untouched."""
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"theirs")
    (root / "way").symlink_to(outside)
    store.write("file", b"x")
    acts: dict[str, Callable[[], object]] = {
        "stat": lambda: store.stat("way/secret"),
        "read": lambda: content(store, "way/secret"),
        "write": lambda: store.write("way/secret", b"ours"),
        "delete": lambda: store.delete("way/secret"),
        "rename": lambda: store.rename("file", "way/file"),
        "make_folder": lambda: store.make_folder("way/folder"),
    }

    with pytest.raises(PermissionDenied, match="leads out of the folder"):
        acts[act]()

    assert files(outside) == {"secret": b"theirs"}


def test_listing_leaves_out_ways_out(
    store: LocalStore, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A link out of the root is not listed, and a warning names it."""
    (root.parent / "elsewhere").write_bytes(b"x")
    (root / "way").symlink_to(root.parent / "elsewhere")
    store.write("file", b"x")

    assert keys(store.list()) == ["file"]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert '"way" in "scratch" leads out' in caplog.text


def test_sibling_whose_name_begins_like_the_root(store: LocalStore, root: Path) -> None:
    """A link to `root-other` leaves `root`, although the text of its path begins the same."""
    other = root.with_name(root.name + "-other")
    other.mkdir()
    (other / "file").write_bytes(b"x")
    (root / "way").symlink_to(other)

    with pytest.raises(PermissionDenied):
        store.stat("way/file")


def test_links_inside_are_followed(store: LocalStore, root: Path) -> None:
    """A link that stays inside reads as what it leads to; a link to a folder above ends."""
    store.write("real/file", b"x")
    (root / "alias").symlink_to(root / "real")
    (root / "real" / "up").symlink_to(root)

    listed = keys(store.list("real/"))

    assert content(store, "alias/file") == b"x"
    assert listed == ["real/file"]
    assert keys(store.list()) == ["alias/file", "real/file"]


def test_links_in_circles_are_named_and_left_out(
    store: LocalStore, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two folders that link to each other, and links to itself, end the listing by their names."""
    for folder, other in (("a", "b"), ("b", "a")):
        store.write(f"{folder}/file", b"x")
        (root / folder / "over").symlink_to(root / other)
    (root / "a" / "self").symlink_to("self")

    assert keys(store.list()) == ["a/file", "a/over/file", "b/file", "b/over/file"]
    assert folder_names(store.list_folder("a")) == ["a/over"]
    assert folder_names(store.list_folder("a/over")) == []
    assert '"a/self" in "scratch" is a link that leads back to itself' in caplog.text
    assert '"a/over/over" in "scratch" is a link to a folder it lies in' in caplog.text
    with pytest.raises(NotFound, match='"a/self" is a link to "self", which leads to nothing'):
        store.stat("a/self")


def test_links_to_nothing_are_named_and_left_out(
    store: LocalStore, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A dangling link costs a warning and no listing; whoever asks for it learns where it leads."""
    store.write("file", b"x")
    (root / "gone").symlink_to("nowhere")

    assert keys(store.list()) == ["file"]
    assert [page.objects[0].key for page in store.list_folder()] == ["file"]
    assert '"gone" in "scratch" is a link to nothing and is left out' in caplog.text
    for act in (store.stat, store.read):
        with pytest.raises(NotFound, match='"gone" is a link to "nowhere", which leads to noth'):
            act("gone")
    with pytest.raises(NotFound, match='"gone" is a link'):
        store.stat("gone/below")
    with pytest.raises(NotFound, match=r"does not exist\Z"):
        store.stat("absent")


def test_pipe_is_no_object(store: LocalStore, root: Path) -> None:
    """A named pipe is neither listed nor read, and looking at it does not wait."""
    os.mkfifo(root / "pipe")

    with pytest.raises(NotFound):
        store.read("pipe")

    assert keys(store.list()) == []


def test_open_stream_survives_replacement(store: LocalStore) -> None:
    """A stream goes on with the bytes it was opened on when the file is replaced or deleted."""
    store.write("file", NINE_MIB)

    with store.read("file") as stream:
        pieces = iter(stream)
        got = bytes(next(pieces))
        store.write("file", b"new")
        store.delete("file")
        got += b"".join(pieces)

    assert got == NINE_MIB


def test_change_in_place_is_noticed(store: LocalStore, root: Path) -> None:
    """A file that another program changes in place while it is read makes the read fail."""
    store.write("file", NINE_MIB)

    with store.read("file") as stream:
        pieces = iter(stream)
        next(pieces)
        with (root / "file").open("r+b") as other:
            other.seek(5 * 1024 * 1024)
            other.write(b"changed")
        with pytest.raises(PreconditionFailed):
            list(pieces)


def test_truncation_in_place_is_noticed(store: LocalStore, root: Path) -> None:
    """A file that another program cuts short while it is read makes the read fail."""
    store.write("file", NINE_MIB)

    with store.read("file") as stream:
        pieces = iter(stream)
        next(pieces)
        os.truncate(root / "file", 1024 * 1024)
        with pytest.raises(Corrupted, match="cut short"):
            list(pieces)


def test_unfinished_files_are_hidden(store: LocalStore, root: Path) -> None:
    """While a body arrives nothing is listed, and the place of unfinished files is no key."""
    seen: list[object] = []

    def body() -> Iterator[bytes]:
        yield b"first"
        seen.extend(keys(store.list()) + folder_names(store.list_folder()))
        seen.append(len(list((root / TEMPORARY).iterdir())))
        yield b"second"

    store.write("file", body())

    assert seen == [1]
    with pytest.raises(NameRejected, match="unfinished"):
        store.write(f"{TEMPORARY}/x", b"x")


def test_stale_temporaries_are_reaped(store: LocalStore, root: Path) -> None:
    """A check removes what dead writers left a day ago, and nothing younger."""
    (root / TEMPORARY).mkdir()
    for name, age_seconds in [("dead", STALE_SECONDS + 60), ("living", STALE_SECONDS - 60)]:
        path = root / TEMPORARY / name
        path.touch()
        then = time.time() - age_seconds
        os.utime(path, (then, then))

    store.check()

    assert [path.name for path in (root / TEMPORARY).iterdir()] == ["living"]


def test_missing_root(tmp_path: Path) -> None:
    """A folder that is not there is named by every call, and `check(create=True)` makes it."""
    store = LocalStore("scratch", tmp_path / "not" / "there")
    for act in (store.check, lambda: list(store.list()), lambda: store.write("file", b"x")):
        with pytest.raises(NotFound, match='"scratch" does not exist'):
            act()

    store.check(create=True)
    store.write("file", b"x")

    assert content(store, "file") == b"x"


def test_rename_onto_a_folder_with_content(store: LocalStore) -> None:
    """A rename never swallows a folder that has something in it."""
    store.write("file", b"x")
    store.write("folder/inside", b"y")
    store.write("other/inside", b"z")

    for source in ("file", "other"):
        with pytest.raises(StoreError) as caught:
            store.rename(source, "folder")
        assert caught.value.temporary is False

    assert keys(store.list()) == ["file", "folder/inside", "other/inside"]


def test_identity_is_the_real_place(root: Path) -> None:
    """Two ways to one folder have one identity, so caches are shared."""
    (root.parent / "alias").symlink_to(root)

    identities = {LocalStore(name, root.parent / name).identity for name in ("alias", "root")}

    assert identities == {root.as_uri()}


def test_copy_that_the_disk_refuses(store: LocalStore) -> None:
    """A copy that the file system breaks off is an error of the store, and leaves nothing."""
    store.write("source", b"x" * 100_000)

    def copy() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
        with pytest.raises(Unsupported) as caught:
            store.copy("source", "copy")
        assert (caught.value.store, caught.value.key) == (store.label, "copy")

    assert forked(copy) == 0
    assert keys(store.list()) == ["source"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk(number: int) -> None:
    """A disk or quota that is full is said to be full, and is not tried again."""
    error = translated("scratch", "file", OSError(number, os.strerror(number)))

    assert (type(error), error.store, error.key, error.temporary) == (
        DiskFull,
        "scratch",
        "file",
        False,
    )


def test_copy_without_help_of_the_kernel(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the system cannot copy by itself, as on macOS, the bytes are copied by hand."""
    body = os.urandom(3 * 1024 * 1024)
    store.write("source", body)
    monkeypatch.delattr(os, "copy_file_range")

    made = store.copy("source", "copy")

    assert (made.size, content(store, "copy")) == (len(body), body)
