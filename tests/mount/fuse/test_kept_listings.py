"""Listings that the kernel keeps, and when it has to ask for them again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from datastores.errors import Unavailable
from datastores.storage.memory import MemoryStore
from mount.cache.node_cache import NodeCache
from mount.fs.file_system import StoreFileSystem
from mount.fs.spool import Spool
from mount.fs.view import MountView
from mount.fuse.device import why_not
from mount.fuse.layouts import Op
from mount.fuse.mounted import mount
from tests.contracts.faulty_store import Fault, FaultyStore
from tests.mount.adapters.mounting import Adapter, mounted_at, names

QUOTA_BYTES = 1 << 28
PAGE = 500
NAMES = [f"{number:05}" for number in range(4 * PAGE)]
SECONDS = 30


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of four pages in a mounted store; `path` is where it shows."""

    path: Path
    store: FaultyStore
    files: StoreFileSystem
    mounted: Any

    def put(self, name: str) -> None:
        """What another client does."""
        self.store.inner.write(f"many/{name}", b"x")

    def remove(self, name: str) -> None:
        """What another client does."""
        self.store.inner.delete(f"many/{name}")

    def listed(self) -> int:
        """How often the kernel asked for names."""
        ops = self.mounted.figures.by_op
        return int(ops.get(Op.READDIR, 0) + ops.get(Op.READDIRPLUS, 0))

    def pages(self) -> int:
        """How often the store was asked for names."""
        return self.store.count("list_folder")


class MountFolder(Protocol):
    def __call__(self, **view: object) -> Folder: ...


@pytest.fixture(name="mount_folder")
def fixture_mount_folder(tmp_path: Path) -> Iterator[MountFolder]:
    """Mounts stores with such a folder."""
    with ExitStack() as stack:
        made: list[Folder] = []

        def make(**view: object) -> Folder:
            made.append(stack.enter_context(mounted_folder(tmp_path / str(len(made)), view)))
            return made[-1]

        yield make


@contextmanager
def mounted_folder(base: Path, view: dict[str, object]) -> Iterator[Folder]:
    store = FaultyStore(MemoryStore(page_size=PAGE))
    for name in NAMES:
        store.inner.write(f"many/{name}", b"x")
    place = base / "place"
    place.mkdir(parents=True)
    cache = NodeCache.open(base / "cache", quota_bytes=QUOTA_BYTES, reserve_bytes=0)
    settings: dict[str, Any] = {"owner": os.getuid(), "group": os.getgid(), **view}
    files = StoreFileSystem(store, cache, MountView(**settings), Spool.open(base / "spool"))
    with mounted_at(Adapter("direct", mount, why_not), files, place) as mounted:
        yield Folder(place / "many", store, files, mounted)
    counts = files.counters()
    cache.close()
    assert (counts.open_files, counts.open_folders, counts.drafts) == (0, 0, 0)


@pytest.fixture(name="folder")
def fixture_folder(mount_folder: MountFolder) -> Folder:
    """One folder with the usual lifetimes."""
    return mount_folder()


def until(act: Callable[[], object], wanted: object) -> object:
    """What comes of an act when it is what was wanted, or half a minute later."""
    end = time.monotonic() + SECONDS
    while (seen := act()) != wanted and time.monotonic() < end:
        time.sleep(0.02)
    return seen


def test_the_second_listing_asks_neither_the_store_nor_the_mount(folder: Folder) -> None:
    """A folder that was listed is listed again by the kernel alone, in the same order."""
    first = names(folder.path)
    asked = folder.listed(), folder.pages()

    second = names(folder.path)
    kinds = {line.is_file() for line in os.scandir(folder.path)}

    assert (first, second, kinds) == (NAMES, NAMES, {True})
    assert (folder.listed(), folder.pages()) == asked


def test_a_folder_too_long_to_be_known_is_kept_by_the_kernel(mount_folder: MountFolder) -> None:
    """Above `facts` names the mount forgets what it listed, and the kernel lists it all the same."""
    folder = mount_folder(facts=2 * PAGE)
    assert names(folder.path) == NAMES
    asked = folder.listed(), folder.pages()

    assert names(folder.path) == NAMES
    assert (folder.listed(), folder.pages()) == asked


def test_a_changed_store_is_listed_after_the_lifetime(mount_folder: MountFolder) -> None:
    """Names that another client made or removed show within `attribute_seconds`, and no earlier."""
    folder = mount_folder(attribute_seconds=2.0)
    began = time.monotonic()
    names(folder.path)
    folder.put("new")
    folder.remove(NAMES[7])
    at_once = names(folder.path)
    is_early = time.monotonic() < began + 2.0
    wanted = [*(name for name in NAMES if name != NAMES[7]), "new"]

    assert until(lambda: names(folder.path), wanted) == wanted
    assert at_once == NAMES or not is_early


def test_without_a_lifetime_nothing_is_kept(mount_folder: MountFolder) -> None:
    """With no lifetime each listing shows what the store has."""
    folder = mount_folder(attribute_seconds=0.0)
    seen = [names(folder.path)]
    folder.put("new")
    seen.append(names(folder.path))
    folder.remove("new")
    seen.append(names(folder.path))

    assert seen == [NAMES, [*NAMES, "new"], NAMES]


def test_own_changes_are_in_the_next_listing(folder: Folder) -> None:
    """Whatever this mount makes, removes or renames shows at once, after listings that were kept."""
    wanted = set(NAMES)
    seen = []
    for change in (
        lambda: (folder.path / "made").write_bytes(b"1"),
        (folder.path / NAMES[3]).unlink,
        lambda: (folder.path / NAMES[4]).rename(folder.path / "renamed"),
        (folder.path / "folder").mkdir,
        lambda: (folder.path / "renamed").rename(folder.path / "folder" / "inside"),
        lambda: (folder.path / "folder" / "inside").rename(folder.path / "outside"),
        (folder.path / "folder").rmdir,
    ):
        names(folder.path)
        names(folder.path)
        change()
        seen.append(set(names(folder.path)) ^ wanted)

    three, four = NAMES[3], NAMES[4]
    assert seen == [
        {"made"},
        {"made", three},
        {"made", three, four, "renamed"},
        {"made", three, four, "renamed", "folder"},
        {"made", three, four, "folder"},
        {"made", three, four, "folder", "outside"},
        {"made", three, four, "outside"},
    ]


def test_own_changes_need_no_listing_by_the_store(folder: Folder) -> None:
    """After a change of this mount the folder is listed from what is known."""
    names(folder.path)
    (folder.path / NAMES[3]).unlink()
    asked = folder.pages()

    assert names(folder.path) == [name for name in NAMES if name != NAMES[3]]
    assert folder.pages() == asked


def test_a_change_during_a_listing_is_in_the_next_one(folder: Folder) -> None:
    """A file made while somebody lists is in the listing after that, and is kept there."""
    with os.scandir(folder.path) as lines:
        next(lines)
        (folder.path / "made").write_bytes(b"1")
        rest = {line.name for line in lines}

    assert rest >= set(NAMES[1:])
    assert [set(names(folder.path)) ^ set(NAMES) for _ in range(3)] == [{"made"}] * 3


def test_a_listing_that_broke_off_is_not_kept(folder: Folder) -> None:
    """When a page does not come, the listing fails, and the next one shows the whole folder."""
    lost = Unavailable("memory", None, "no answer")
    folder.store.plan("list_folder", Fault(error=lost), nth=folder.pages() + 3)

    with pytest.raises(OSError, match="Input/output error"):
        names(folder.path)

    assert [names(folder.path) for _ in range(3)] == [NAMES] * 3


def test_a_half_read_listing_is_not_taken_for_all(folder: Folder) -> None:
    """Whoever lists after somebody who stopped half-way gets every name once."""
    with os.scandir(folder.path) as lines:
        for _ in range(700):
            next(lines)
        during = names(folder.path)

    assert [during, names(folder.path), names(folder.path)] == [NAMES] * 3


def test_readers_at_different_places_get_one_listing_each(mount_folder: MountFolder) -> None:
    """Readers that began before, between and after changes of the store see no name twice."""
    folder = mount_folder(attribute_seconds=0.05)
    seen: list[list[str]] = []
    with ExitStack() as stack:
        readers: list[tuple[Any, list[str]]] = []
        for turn in range(5):
            readers.append((stack.enter_context(os.scandir(folder.path)), []))
            for lines, heard in readers:
                heard += [next(lines).name for _ in range(150)]
            folder.put(f"00000-{turn}")
            time.sleep(0.06)  # the listings that are open are no longer believed
        for lines, heard in readers:
            seen.append(heard + [line.name for line in lines])

    wanted = sorted([*NAMES, *(f"00000-{turn}" for turn in range(5))])
    assert all(len(set(one)) == len(one) for one in seen)
    assert all(set(one) >= set(NAMES) for one in seen)
    assert until(lambda: names(folder.path), wanted) == wanted


def test_readers_at_once_share_what_the_store_is_asked(folder: Folder) -> None:
    """Four programs that list a folder at one time ask the store for each page once."""
    with ExitStack() as stack:
        readers = [stack.enter_context(os.scandir(folder.path)) for _ in range(4)]
        rows = [[line.name for line in lines] for lines in zip(*readers, strict=True)]

    assert rows == [[name] * 4 for name in NAMES]
    assert folder.pages() == len(NAMES) // PAGE + 1


def test_a_rewound_folder_is_listed_anew_after_the_lifetime(mount_folder: MountFolder) -> None:
    """Who keeps a folder open and reads it again and again sees what another client made."""
    folder = mount_folder(attribute_seconds=0.5)
    fd = os.open(folder.path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        first = [line.name for line in os.scandir(fd)]
        folder.put("new")

        assert first == NAMES
        assert until(lambda: [line.name for line in os.scandir(fd)], [*NAMES, "new"]) == [
            *NAMES,
            "new",
        ]
    finally:
        os.close(fd)


def test_a_refresh_ends_what_the_kernel_kept(folder: Folder) -> None:
    """After a refresh the next listing shows what another client made."""
    names(folder.path)
    folder.put("new")

    folder.files.refresh()

    assert names(folder.path) == [*NAMES, "new"]


def test_a_name_that_is_found_ends_a_listing_without_it(mount_folder: MountFolder) -> None:
    """Once a look-up has found another client's file, the next listing shows it, too."""
    folder = mount_folder(absent_seconds=0.0)
    names(folder.path)
    folder.put("new")
    before = names(folder.path)

    assert (folder.path / "new").is_file()
    assert before == NAMES
    assert names(folder.path) == [*NAMES, "new"]


def test_what_the_kernel_keeps_is_of_one_listing(folder: Folder) -> None:
    """A part of an old listing and a part of a new one are never put together and shown again."""
    lost = Unavailable("memory", None, "no answer")
    folder.store.plan("list_folder", Fault(error=lost), nth=folder.pages() + 3)
    part, whole = (os.open(folder.path, os.O_RDONLY | os.O_DIRECTORY) for _ in range(2))
    try:
        with pytest.raises(OSError, match="Input/output error"), os.scandir(part) as lines:
            list(lines)  # two pages of four, which the kernel keeps
        for name in NAMES[:100]:
            folder.remove(name)
        seen = [[line.name for line in os.scandir(whole)] for _ in range(2)]
    finally:
        os.close(part)
        os.close(whole)

    assert seen == [NAMES[100:]] * 2


def test_a_copy_that_the_kernel_lost_is_gone_on_with(folder: Folder) -> None:
    """A reader whose pages the kernel drops half-way gets every name once, from the same listing."""
    assert names(folder.path) == NAMES
    asked = folder.listed()
    with os.scandir(folder.path) as lines:
        heard = [next(lines).name for _ in range(700)]
        assert folder.listed() == asked
        folder.put("00000-new")
        folder.mounted.notifier.forget_data(folder.path.stat().st_ino)
        assert folder.mounted.notifier.settle(SECONDS)
        heard += [line.name for line in lines]

    assert heard == NAMES
    assert folder.listed() > asked


def test_who_removes_what_he_reads_misses_nothing(folder: Folder) -> None:
    """A kept listing that is dropped while its reader removes files goes on behind his place."""
    assert names(folder.path) == NAMES
    with os.scandir(folder.path) as lines:
        heard = [next(lines).name for _ in range(700)]
        for name in heard:
            (folder.path / name).unlink()
        others = names(folder.path)  # for which the kernel drops what it kept
        heard += [line.name for line in lines]

    assert (heard, others) == (NAMES, NAMES[700:])
