"""Folders that change while somebody lists them: no name is lost, none comes twice."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from datastores.errors import Unavailable
from datastores.storage.contract import ObjectInfo, Page
from datastores.storage.memory import MemoryStore
from mount.fs.contract import Kind
from mount.fs.facts import RECENT_CHANGES
from mount.fs.listing import Listed, names_in
from tests.contracts.faulty_store import Fault, FaultyStore
from tests.mount.fs.conftest import Mounted, MountIt, put
from tests.mount.fs.kernel import KernelInMiniature
from tests.mount.fs.readers import LiveStore, SlowReader

NAMES = [f"{number:03}" for number in range(40)]


@pytest.fixture(name="many")
def fixture_many(mount_it: MountIt) -> Mounted:
    """A mount with a folder of forty names, ten to a page."""
    return many_names(mount_it)


def many_names(mount_it: MountIt, **view: object) -> Mounted:
    mounted = mount_it(FaultyStore(LiveStore(page_size=10)), **view)
    for name in NAMES:
        put(mounted, f"d/{name}", b"1")
    return mounted


def test_many_changes_elsewhere_lose_no_name(many: Mounted) -> None:
    """A listing that is read slowly has every name, however much this mount wrote meanwhile."""
    with many.kernel.folder("d") as handle:
        reader = SlowReader(many.kernel, handle)
        heard = reader.some(5)
        tree = many.fs._tree
        with tree.lock:
            tree.changed(*(f"elsewhere/{number}" for number in range(RECENT_CHANGES + 1)))
        heard += reader.rest()

    assert heard == NAMES


def test_a_file_written_anew_is_listed_without_lifetimes(mount_it: MountIt) -> None:
    """A file that gets other bytes while its folder is listed is in the listing all the same."""
    many = many_names(mount_it, attribute_seconds=0.0, name_seconds=0.0, absent_seconds=0.0)
    with many.kernel.folder("d") as handle:
        reader = SlowReader(many.kernel, handle)
        heard = reader.some(5)
        many.kernel.write("d/015", b"longer")
        heard += reader.rest()

    assert heard == NAMES


def test_a_file_written_anew_is_listed_after_a_refresh(many: Mounted) -> None:
    """A refresh between a change and the page that shows the file takes no name away."""
    with many.kernel.folder("d") as handle:
        reader = SlowReader(many.kernel, handle)
        heard = reader.some(5)
        many.kernel.write("d/015", b"longer")
        many.fs.refresh()
        heard += reader.rest()

    assert heard == NAMES


def test_a_folder_emptied_during_a_listing_is_in_it(mount_it: MountIt) -> None:
    """A folder whose last file goes before its page comes is in this listing and in the next."""
    many = many_names(mount_it)
    put(many, "d/zz/only", b"1")
    with many.kernel.folder("d") as handle:
        reader = SlowReader(many.kernel, handle)
        heard = reader.some(5)
        many.kernel.unlink("d/zz/only")
        heard += reader.rest()

    assert heard == [*NAMES, "zz"]
    assert many.kernel.list("d") == [*NAMES, "zz"]


def test_what_a_slow_listing_did_not_show_is_asked_for(mount_it: MountIt) -> None:
    """A name made behind a slow reader is found, although his listing, now complete, lacks it."""
    many = many_names(mount_it, absent_seconds=0.05)
    with many.kernel.folder("d") as handle:
        reader = SlowReader(many.kernel, handle)
        reader.some(5)
        put(many, "d/000-new", b"1")
        passed(0.06)
        reader.rest()

    assert many.kernel.exists("d/000-new")


def test_what_was_made_during_a_listing_is_not_taken_for_absent(mount_it: MountIt) -> None:
    """A file that this mount stored behind a reader exists when all else of it is forgotten."""
    many = many_names(mount_it, attribute_seconds=0.0, name_seconds=0.0)
    with many.kernel.folder("d") as handle:
        reader = SlowReader(many.kernel, handle)
        reader.some(5)
        many.kernel.write("d/000-new", b"1")
        many.kernel.forget_all()
        reader.rest()

        assert many.kernel.exists("d/000-new")


def passed(seconds: float) -> None:
    """Wait until a lifetime is over."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(left)


def test_a_copy_dropped_while_its_reader_removes_what_he_read(many: Mounted) -> None:
    """Who removes what a kept listing showed him goes on behind it when the kernel drops the copy."""
    shown = [*many.kernel.children("d")]
    with many.kernel.folder("d") as remover:
        # The kernel gave the first half from its copy.
        for child in shown[:20]:
            many.kernel.unlink(f"d/{os.fsdecode(child.name)}")
        with many.kernel.folder("d") as other:
            assert SlowReader(many.kernel, other).rest() == NAMES[20:]
        reader = SlowReader(many.kernel, remover)
        reader.cookie = shown[19].cookie

        assert reader.rest() == NAMES[20:]


def test_a_reader_behind_one_who_met_an_error_gets_what_came(mount_it: MountIt) -> None:
    """A page that fails for a reader ahead does not move the place of one who has not come so far."""
    many = many_names(mount_it)
    with many.kernel.folder("d") as one, many.kernel.folder("d") as two:
        behind, ahead = SlowReader(many.kernel, one), SlowReader(many.kernel, two)
        heard = behind.some(10)
        ahead.some(20)
        lost = Unavailable("m", None, "no")
        many.store.plan("list_folder", Fault(error=lost), nth=many.store.count("list_folder") + 1)
        with pytest.raises(Unavailable):
            ahead.some(10)
        for name in NAMES[:10]:
            many.kernel.unlink(f"d/{name}")
        heard += behind.some(10)

    assert heard == NAMES[:20]


@pytest.mark.parametrize(("facts", "removed"), [(1000, 20), (5, 10), (5, 15)])
def test_who_goes_on_after_an_error_goes_on_at_his_place(
    mount_it: MountIt, facts: int, removed: int
) -> None:
    """Who removes what he has read, meets an error and reads on gets the names behind it."""
    many = many_names(mount_it, facts=facts)
    with many.kernel.folder("d") as handle:
        reader = SlowReader(many.kernel, handle)
        heard = reader.some(20)
        lost = Unavailable("m", None, "no")
        many.store.plan("list_folder", Fault(error=lost), nth=many.store.count("list_folder") + 1)
        with pytest.raises(Unavailable):
            reader.some(10)
        for name in heard[:removed]:
            many.kernel.unlink(f"d/{name}")
        heard += reader.rest()

    assert heard == NAMES


def test_who_is_left_behind_in_a_long_folder_that_shrinks_loses_no_name(mount_it: MountIt) -> None:
    """A reader whose names were forgotten goes on behind the last one he got."""
    many = many_names(mount_it, facts=15)
    with many.kernel.folder("d") as one, many.kernel.folder("d") as two:
        slow, fast = SlowReader(many.kernel, one), SlowReader(many.kernel, two)
        heard = slow.some(7)
        fast.rest()
        for name in heard:
            many.kernel.unlink(f"d/{name}")
        heard += slow.rest()

    assert heard == NAMES


def test_a_folder_that_moves_during_a_listing_is_listed_to_its_end(many: Mounted) -> None:
    """Renaming the folder that somebody reads takes no name from him."""
    with many.kernel.folder("d") as handle:
        reader = SlowReader(many.kernel, handle)
        heard = reader.some(5)
        many.kernel.rename("d", "e")
        heard += reader.rest()

    assert heard == NAMES


def test_a_rewound_copy_of_a_half_forgotten_listing_is_dropped(mount_it: MountIt) -> None:
    """What the kernel keeps of a listing that memory had no room for ends with its lifetime, too."""
    many = many_names(mount_it, facts=100, attribute_seconds=0.5)
    for folder in "xyz":
        for name in NAMES:
            put(many, f"{folder}/{name}", b"1")
    with many.kernel.folder("d") as handle:
        reader = SlowReader(many.kernel, handle)
        heard = reader.some(5)
        for folder in "xyz":
            many.kernel.list(folder)
        heard += reader.rest()
        inode = many.kernel.look("d").inode
        passed(0.51)
        many.kernel.asking(lambda wait: many.fs.getattr(inode, None, wait=wait))
        many.fs._notices.stop(10)

    assert heard == NAMES
    assert inode in many.kernel.forgotten_data


def test_a_name_that_another_page_repeats_comes_once(mount_it: MountIt) -> None:
    """A store that shows a folder at the end of a page and again on the next is taken once."""

    class Repeating(MemoryStore):
        def list_folder(self, place: str = "") -> Iterator[Page]:
            yield Page(objects=[ObjectInfo("a", 1)], folders=["b"])
            yield Page(objects=[ObjectInfo("c", 1)], folders=["b"])

    assert mount_it(Repeating()).kernel.list() == ["a", "b", "c"]


def test_a_name_that_is_a_folder_now_is_listed_as_one(mount_it: MountIt) -> None:
    """What a look-up found a file to be instead of a folder is so in the listing, too."""
    mounted = mount_it(attribute_seconds=60.0)
    put(mounted, "d/a", b"1")
    mounted.kernel.list("d")
    mounted.store.inner.delete("d/a")
    put(mounted, "d/a/b", b"1")
    with mounted.kernel.folder("d") as handle:
        inode = mounted.kernel.look("d").inode
        tree = mounted.fs._tree
        with tree.lock:
            node = tree.table.at(inode).children["a"]
            node.fresh_until = 0.0
        mounted.kernel.look("d/a")
        plain = mounted.kernel.asking(
            lambda wait: mounted.fs.readdir(handle, 0, 10, entries=False, wait=wait)
        )

    assert [(child.name, child.kind) for child in plain] == [(b"a", Kind.FOLDER)]


def test_a_page_that_waited_is_as_old_as_its_answer(mount_it: MountIt) -> None:
    """Attributes on a page that a store's client asked for early are believed from then on only."""

    class Early(MemoryStore):
        """Asks for the next page when it hands one out, as clients of real stores do."""

        def list_folder(self, place: str = "") -> Iterator[Page]:
            pages = super().list_folder(place)
            ahead = next(pages, None)
            while ahead is not None:
                page, ahead = ahead, next(pages, None)
                yield page

    mounted = mount_it(Early(page_size=10), attribute_seconds=0.3)
    for name in NAMES:
        put(mounted, f"d/{name}", b"1")
    with mounted.kernel.folder("d") as handle:
        reader = SlowReader(mounted.kernel, handle)
        reader.some(5)
        put(mounted, "d/015", b"longer")
        passed(0.31)
        reader.some(15)

        assert mounted.kernel.stat("d/015").size == 6


def test_changes_during_a_page_hold_up_nobody(mount_it: MountIt) -> None:
    """A page is taken in as fast after a thousand changes elsewhere as after none, but for a factor of twenty."""
    mounted = mount_it(MemoryStore(page_size=5000))
    for number in range(5000):
        put(mounted, f"d/{number:05}", b"")
    tree = mounted.fs._tree
    node = tree.table.at(mounted.kernel.look("d").inode)
    (page,) = tree.store.list_folder("d")
    fastest: list[float] = []
    for changes in (0, RECENT_CHANGES - 1):
        seconds: list[float] = []
        for _ in range(3):
            listed = Listed(list(names_in(page, "d")), tree.changes.count, time.monotonic())
            with tree.lock:
                tree.changed(*(f"elsewhere/{number}" for number in range(changes)))
                began = time.thread_time()
                tree.take(node, "d", listed)
                seconds.append(time.thread_time() - began)
        fastest.append(min(seconds))

    assert fastest[1] < 20 * fastest[0]


def test_readers_and_writers_at_once(mount_it: MountIt) -> None:
    """Names that stay are in each listing once, and names that nobody made in none, among threads."""
    many = many_names(mount_it, facts=60)
    others = [f"{number:03}-{letter}" for number in range(0, 40, 3) for letter in "ab"]
    is_over = threading.Event()

    def change(seed: int) -> None:
        kernel, chance = KernelInMiniature(many.fs), random.Random(seed)
        mine = others[seed::2]
        while not is_over.is_set():
            made, moved = chance.sample(mine, 2)
            kernel.write(f"d/{made}", b"1")
            kernel.rename(f"d/{made}", f"d/{moved}")
            kernel.unlink(f"d/{moved}")
            kernel.write(f"d/{chance.choice(NAMES[seed::2])}", b"longer")
            kernel.forget_all()

    def refresh() -> None:
        while not is_over.wait(0.001):
            many.fs.refresh()

    def listings(most: int) -> list[list[str]]:
        kernel = KernelInMiniature(many.fs)
        seen = [kernel.list("d", most=most) for _ in range(100)]
        kernel.forget_all()
        return seen

    with ThreadPoolExecutor(6) as pool:
        changing = [pool.submit(change, 0), pool.submit(change, 1), pool.submit(refresh)]
        try:
            reading = [pool.submit(listings, most) for most in (3, 7, 100)]
            seen = [one for future in reading for one in future.result(100)]
        finally:
            is_over.set()
        for one in changing:
            one.result(30)

    assert [[name for name in one if name in NAMES] for one in seen] == [NAMES] * 300
    assert {name for one in seen for name in one} <= {*NAMES, *others}
