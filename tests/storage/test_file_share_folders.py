"""Folders, listings and copies of a file share at sizes where paging and races show."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler

import pytest

from datastores.credentials.kinds import AccountKey
from datastores.errors import Corrupted, Unavailable, Unsupported
from datastores.storage.contract import ObjectInfo, Patience, Store
from datastores.storage.file_share import open_file_share
from tests.contracts.store_contract import content, everything, keys
from tests.servers.files import FilesServer
from tests.servers.files_listener import Listener
from tests.servers.files_tree import File, Folder, SparseBytes
from tests.storage.test_file_share import definition_on


@pytest.fixture
def share(files_server: FilesServer) -> str:
    return files_server.share()


@pytest.fixture
def store(files_server: FilesServer, share: str) -> Iterator[Store]:
    store = open_file_share(
        definition_on(files_server, share),
        AccountKey(files_server.key),
        Patience(total_seconds=1),
    )
    yield store
    store.close()


def plant(files_server: FilesServer, share: str, paths: list[str]) -> None:
    """Empty files put into the service's memory without a request each."""
    root = files_server.state.shares[share].root
    for path in paths:
        *above, name = path.split("/")
        folder = root
        for part in above:
            entry = folder.entries.setdefault(part.upper(), Folder(part))
            assert isinstance(entry, Folder)
            folder = entry
        folder.entries[name.upper()] = File(name, data=SparseBytes(0))


def listings(files_server: FilesServer, share: str) -> list[str]:
    """The paths that were listed, in order."""
    return [
        path.partition("?")[0].partition(share)[2]
        for _, path, _ in files_server.requests_for(share)
        if "comp=list" in path
    ]


def test_many_entries_are_paged(files_server: FilesServer, share: str, store: Store) -> None:
    """A folder of 12,000 files is listed whole, in order, and its first page early."""
    want = [f"d/{n:05d}" for n in range(12_000)]
    plant(files_server, share, want)

    pages = store.list("d/")
    first = next(pages)
    asked_for_the_first = len(listings(files_server, share))
    got = [info.key for page in itertools.chain([first], pages) for info in page.objects]

    assert got == want
    assert (asked_for_the_first, len(listings(files_server, share))) == (1, 3)


def test_walk_is_depth_first_in_order(files_server: FilesServer, share: str, store: Store) -> None:
    """A listing goes through folders and files of each folder in the order of their names."""
    plant(files_server, share, ["b", "a/z", "a/b/c", "a/a", "c/x", "a.txt"])

    got = [info.key for page in store.list() for info in page.objects]

    assert got == ["a/a", "a/b/c", "a/z", "a.txt", "b", "c/x"]


def test_only_matching_folders_are_listed(
    files_server: FilesServer, share: str, store: Store
) -> None:
    """A prefix keeps the walk out of every folder that cannot hold such keys."""
    plant(files_server, share, ["train/a/1", "train/b/2", "test/a/3", "tr", "other/4"])

    got = keys(store.list("train/b"))

    assert got == ["train/b/2"]
    assert listings(files_server, share) == ["/train", "/train%2Fb"]


def test_deep_tree(files_server: FilesServer, share: str, store: Store) -> None:
    """A file 200 folders down is written, listed and read."""
    deep = "/".join(["d"] * 200) + "/file"

    store.write(deep, b"x")

    assert everything(store) == {deep: b"x"}


def test_writers_make_the_same_folders_at_once(store: Store) -> None:
    """16 writers into one deep folder that does not exist yet all succeed."""
    barrier = threading.Barrier(16)

    def write(number: int) -> None:
        barrier.wait(timeout=30)
        store.write(f"a/b/c/d/{number:02d}", b"%02d" % number)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(write, range(16)))

    assert everything(store) == {f"a/b/c/d/{n:02d}": b"%02d" % n for n in range(16)}


def test_folder_that_vanishes_is_made_again(
    files_server: FilesServer, share: str, store: Store
) -> None:
    """A folder that another client removed is no surprise to the next write into it."""
    store.write("d/a", b"x")
    store.delete("d/a")
    files_server.state.shares[share].remove_folder(["d"])

    store.write("d/a", b"y")

    assert everything(store) == {"d/a": b"y"}


def test_write_into_a_folder_costs_three_requests(
    files_server: FilesServer, share: str, store: Store
) -> None:
    """A new small file in an existing folder is made, filled and named: three requests."""
    store.write("d/a", b"x")
    before = len(files_server.requests_for(share))

    store.write("d/b", b"x")

    assert len(files_server.requests_for(share)) - before == 3


def test_stale_upload_does_not_hold_a_folder(
    files_server: FilesServer, share: str, store: Store
) -> None:
    """What a writer left behind hours ago goes with its folder; an upload under way keeps it."""
    assert store.folders
    hidden = ".~datastores-" + "0" * 32
    plant(files_server, share, [f"old/{hidden}", f"new/{hidden}"])
    files_server.state.shares[share].find(["old", hidden]).written_ns -= 2 * 3600 * 10**9

    store.folders.remove_folder("old")
    with pytest.raises(Unsupported, match="not empty"):
        store.folders.remove_folder("new")

    assert files_server.names(share) == ["new/", f"new/{hidden}"]


def test_pending_copy_is_awaited(files_server: FilesServer, store: Store) -> None:
    """A copy that the service finishes later is not shown before it is complete."""
    assert store.copying
    store.write("a", b"x" * 1000)
    files_server.state.copies_stay_pending = 3
    try:
        made = store.copying.copy("a", "b")
    finally:
        files_server.state.copies_stay_pending = 0

    assert (made.size, content(store, "b")) == (1000, b"x" * 1000)


def test_endless_copy_is_given_up(files_server: FilesServer, store: Store) -> None:
    """A copy that stays pending ends within the patience and leaves nothing."""
    assert store.copying
    store.write("a", b"x")
    files_server.state.copies_stay_pending = 10**9
    begun = time.monotonic()
    try:
        with pytest.raises(Unavailable, match="more than 1 seconds"):
            store.copying.copy("a", "b")
    finally:
        files_server.state.copies_stay_pending = 0

    assert time.monotonic() - begun < 5
    assert everything(store) == {"a": b"x"}


class _Elsewhere(BaseHTTPRequestHandler):
    """Another store's signed address."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"bytes")

    def log_message(self, *_: object) -> None:
        pass


def test_copy_from_elsewhere(store: Store) -> None:
    """The service fetches from a foreign address; a size that differs makes nothing."""
    assert store.copying
    with Listener(_Elsewhere) as elsewhere:
        made = store.copying.copy_from(
            f"{elsewhere.address}/x?sig=y", "new/file", ObjectInfo("x", 5, None, None)
        )
        with pytest.raises(Corrupted, match="5 of 6 bytes"):
            store.copying.copy_from(
                f"{elsewhere.address}/x?sig=y", "other", ObjectInfo("x", 6, None, None)
            )

    assert (made.size, everything(store)) == (5, {"new/file": b"bytes"})
