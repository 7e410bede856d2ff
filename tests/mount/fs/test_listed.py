"""Folders that are listed again, and who notices."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from datastores.errors import Unavailable
from datastores.storage.memory import MemoryStore
from mount.fs.contract import Child, Kind
from tests.contracts.faulty_store import Fault, FaultyStore
from tests.mount.fs.conftest import Mounted, MountIt, put
from tests.mount.fs.kernel import KernelInMiniature


def test_a_folder_listed_a_moment_ago_is_listed_without_a_request(mounted: Mounted) -> None:
    """The second listing sends nothing and shows the same names in the same order, attributes too."""
    for name in ("d/b", "d/a.txt", "d/a/below", "d/c"):
        put(mounted, name, name.encode())
    first = list(mounted.kernel.children("d"))
    asked = mounted.requests()

    second = list(mounted.kernel.children("d", most=2))

    assert mounted.requests() == asked
    plain = [
        [(child.name, child.inode, child.kind, child.cookie) for child in some]
        for some in (first, second)
    ]
    assert plain[0] == plain[1]
    assert [child.name for child in first] == [b"a.txt", b"a", b"b", b"c"]
    assert all(child.entry and child.entry.attributes.inode == child.inode for child in second)


def test_what_this_mount_changed_is_in_the_next_listing(mounted: Mounted) -> None:
    """New, removed, renamed and not yet stored files are right in a listing that asks nobody."""
    for name in ("d/a", "d/b", "d/c"):
        put(mounted, name, name.encode())
    assert mounted.kernel.list("d") == ["a", "b", "c"]

    mounted.kernel.unlink("d/a")
    mounted.kernel.rename("d/b", "d/e")
    mounted.kernel.write("d/d", b"new")
    mounted.kernel.mkdir("d/f")
    with mounted.kernel.open("d/open", create=True):
        assert mounted.kernel.list("d") == ["c", "d", "e", "f", "open"]
    mounted.kernel.rmdir("d/f")

    assert sorted(mounted.kernel.list("d")) == ["c", "d", "e", "open"]


def test_what_the_kernel_forgot_is_listed_from_what_is_known(mounted: Mounted) -> None:
    """Names whose nodes are gone come from their facts, under the numbers they had."""
    for name in ("a", "b"):
        put(mounted, name, name.encode())
    first = {child.name: child.inode for child in mounted.kernel.children()}
    mounted.kernel.forget_all()
    asked = mounted.requests()

    assert {child.name: child.inode for child in mounted.kernel.children()} == first
    assert mounted.requests() == asked


def test_another_clients_files_are_listed_after_the_lifetime(mount_it: MountIt) -> None:
    """A listing is believed for `attribute_seconds`, and not at all when that is nothing."""
    doubtful, believing = mount_it(attribute_seconds=0.0), mount_it(attribute_seconds=0.2)
    for mounted in (doubtful, believing):
        put(mounted, "a", b"1")
        assert mounted.kernel.list() == ["a"]
        put(mounted, "b", b"2")

    assert doubtful.kernel.list() == ["a", "b"]
    until = time.monotonic() + 30
    while believing.kernel.list() != ["a", "b"] and time.monotonic() < until:
        time.sleep(0.01)
    assert believing.kernel.list() == ["a", "b"]


def test_a_refresh_lists_again(mounted: Mounted) -> None:
    """After a refresh the store is asked for a folder that was listed a moment ago."""
    put(mounted, "a", b"1")
    assert mounted.kernel.list() == ["a"]
    put(mounted, "b", b"2")

    mounted.fs.refresh()

    assert mounted.kernel.list() == ["a", "b"]


def test_children_that_are_doubtful_are_asked_for(mount_it: MountIt) -> None:
    """When the attributes of the names are no longer believed, the folder is listed anew."""
    mounted = mount_it(attribute_seconds=0.0)
    put(mounted, "a", b"1")
    assert mounted.kernel.list() == ["a"]
    put(mounted, "a", b"longer")

    (child,) = mounted.kernel.children()

    assert child.entry
    assert child.entry.attributes.size == 6


def test_only_a_listing_that_is_believed_may_be_kept(mount_it: MountIt) -> None:
    """The kernel is told to keep what was listed, until this mount or a look-up knows better."""
    mounted = mount_it(absent_seconds=0.0)
    for name in "abc":
        put(mounted, f"d/{name}", b"1")
    kept = [is_kept(mounted)]
    mounted.kernel.list("d")
    kept.append(is_kept(mounted))
    mounted.kernel.write("d/e", b"own")
    kept.append(is_kept(mounted))
    mounted.kernel.list("d")
    kept.append(is_kept(mounted))
    put(mounted, "d/f", b"theirs")
    assert mounted.kernel.exists("d/f")
    kept.append(is_kept(mounted))

    assert kept == [False, True, False, True, False]


def is_kept(mounted: Mounted) -> bool:
    """Whether an open leaves the kernel what it has listed."""
    inode = mounted.kernel.look("d").inode
    opened = mounted.fs.opendir(inode, wait=True)
    mounted.fs.releasedir(opened.handle)
    return opened.keep_cache


def test_no_two_listings_share_a_cookie(mount_it: MountIt) -> None:
    """A cookie names the listing that it is of, so one can never go on where another stopped."""
    mounted = mount_it(attribute_seconds=0.0)
    for name in "abc":
        put(mounted, name, b"1")

    cookies = [child.cookie for _ in range(3) for child in mounted.kernel.children()]

    assert len(set(cookies)) == 9


def test_a_reader_left_behind_in_a_long_folder_gets_every_name(mount_it: MountIt) -> None:
    """Names that are forgotten because another reader is far ahead are asked for again."""
    store = MemoryStore(page_size=50)
    names = [f"{number:04}" for number in range(1000)]
    for name in names:
        store.write(f"d/{name}", b"")
    mounted = mount_it(store, facts=100)
    kernel = mounted.kernel

    with kernel.folder("d") as slow, kernel.folder("d") as fast:
        heard = list(kernel.page(slow, 0, 20))
        ahead = list(all_pages(mounted, fast, kernel.page(fast, 0, 20)))
        heard += all_pages(mounted, slow, kernel.page(slow, heard[-1].cookie, 20))

    assert [os.fsdecode(child.name) for child in ahead] == names
    assert [os.fsdecode(child.name) for child in heard] == names


def all_pages(mounted: Mounted, handle: int, some: Sequence[Child]) -> Iterator[Child]:
    """These children and all that come after them."""
    while some:
        yield from some
        some = mounted.kernel.page(handle, some[-1].cookie, 20)


def test_a_page_removed_meanwhile_by_this_mount_is_not_believed(mount_it: MountIt) -> None:
    """A name that is removed here while its page is on its way is not in the listing."""
    store = FaultyStore(MemoryStore(page_size=2))
    mounted = mount_it(store)
    for name in "abcd":
        put(mounted, f"d/{name}", b"1")
    mounted.kernel.look("d/d")
    removed: list[str] = []

    def remove() -> None:
        mounted.kernel.unlink("d/d")
        removed.append("d")

    store.plan("list_folder", Fault(after=remove), nth=store.count("list_folder") + 2)

    assert mounted.kernel.list("d") == ["a", "b", "c"]
    assert removed == ["d"]
    assert mounted.kernel.list("d") == ["a", "b", "c"]


def test_names_looked_at_in_order_cost_a_request_for_each_page(mount_it: MountIt) -> None:
    """Whoever takes all names of a large folder as they come waits for its pages and nothing else."""
    store = MemoryStore(page_size=100)
    for number in range(3000):
        store.write(f"d/{number:04}", bytes(number % 7))
    mounted = mount_it(store)
    mounted.kernel.look("d")
    before = mounted.requests()

    sizes = [mounted.kernel.stat(f"d/{number:04}").size for number in range(3000)]

    assert sizes == [number % 7 for number in range(3000)]
    # The first two names are asked for one by one.
    assert mounted.requests() - before <= 30 + 4


def test_what_is_written_ends_no_listing(mounted: Mounted) -> None:
    """A file that has other bytes now is in the folder as before: the kernel keeps what it listed."""
    put(mounted, "d/a", b"1")
    mounted.kernel.list("d")

    mounted.kernel.write("d/a", b"longer")

    assert is_kept(mounted)
    assert [
        child.entry.attributes.size for child in mounted.kernel.children("d") if child.entry
    ] == [6]


def test_names_of_many_folders_are_forgotten_and_their_listings_kept(mount_it: MountIt) -> None:
    """At most `facts` names stay in memory; the kernel keeps what it has of the other folders."""
    store = MemoryStore()
    for folder in range(20):
        for number in range(50):
            store.write(f"{folder:02}/{number}", b"")
    mounted = mount_it(store, facts=200)
    for folder in range(20):
        mounted.kernel.list(f"{folder:02}")
    folders = [node for node in mounted.fs._tree.table.nodes() if node.kind is Kind.FOLDER]

    assert sum(len(node.roll.names) for node in folders if node.roll) <= 200
    assert [bool(node.roll) and node.told is node.roll for node in folders if node.name] == [
        True
    ] * 20
    assert mounted.kernel.list("00") == sorted(str(number) for number in range(50))


def test_who_waits_for_a_page_that_fails_asks_again(mount_it: MountIt) -> None:
    """An error ends the listing of whoever met it; a reader who waited beside him gets all names."""
    store = FaultyStore(MemoryStore(page_size=100))
    names = [f"{number:03}" for number in range(500)]
    for name in names:
        store.inner.write(f"d/{name}", b"")
    mounted = mount_it(store)
    mounted.kernel.look("d")
    third = store.count("list_folder") + 3
    is_due = threading.Event()
    store.plan("list_folder", Fault(stall=is_due, error=Unavailable("m", None, "no")), nth=third)
    others = KernelInMiniature(mounted.fs)

    with ThreadPoolExecutor(2) as pool:
        failing = pool.submit(mounted.kernel.list, "d")
        reached(lambda: store.count("list_folder") == third)
        waiting = pool.submit(others.list, "d")
        reached(lambda: others.waits > 0)
        is_due.set()

        assert isinstance(failing.exception(30), Unavailable)
        assert waiting.result(30) == names
    others.forget_all()


def reached(happened: Callable[[], bool]) -> None:
    """Wait for something that another thread does."""
    end = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.001)
