"""What every store must do; a new store is faced with it by one class with one fixture.

    class TestMyStore(StagingContract, StoreContract):
        @pytest.fixture
        def store(self) -> Iterator[Store]: ...  # an empty store, closed afterwards

A store with a power (`staging`, `renaming`, `copying`, `folders`) inherits that power's contract
too; `test_powers_face_their_contracts` fails where one is forgotten.
"""

from __future__ import annotations

import array
import contextlib
import posixpath
import threading
import unicodedata
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from datastores.errors import (
    AlreadyExists,
    NameRejected,
    NotFound,
    PreconditionFailed,
    StoreError,
    Unsupported,
)
from datastores.storage.contract import (
    ABSENT,
    Block,
    Copying,
    Folders,
    ObjectInfo,
    Page,
    Renaming,
    Staging,
    Store,
)

if TYPE_CHECKING:
    from datastores.storage.contract import Body

MIB = 1024 * 1024
REFUSALS = (NameRejected, Unsupported)

# Neither periodic in a power of two nor compressible to one byte: a block put in the wrong place,
# or twice, changes the whole.
NINE_MIB = b"".join(n.to_bytes(4, "big") + b"abc" for n in range(9 * MIB // 7 + 1))[: 9 * MIB + 1]

HARD_NAMES = {
    "space": "two words.txt",
    "percent": "100%",
    "percent-escape": "a%20b",
    "percent-percent-escape": "a%2520b",
    "escaped-slash": "a%2Fb",
    "hash": "a#b",
    "plus": "a+b",
    "question": "a?b=c",
    "ampersand": "a&b",
    "tilde": "~a~",
    "single-quote": "it's",
    "double-quote": 'a"b',
    "star": "a*b",
    "colon": "a:b",
    "semicolon": "a;b,c=d",
    "brackets": "a[0]{1}(2)<3>",
    "bar": "a|b^c`d",
    "at": "@a!$",
    "nfc": unicodedata.normalize("NFC", "caf\u00e9"),
    "nfd": unicodedata.normalize("NFD", "caf\u00e9"),
    "cyrillic": "данные/поезд.csv",
    "emoji": "\U0001f69a/\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "leading-dot": ".hidden",
    "trailing-dot": "ends.",
    "trailing-dots": "ends...",
    "folder-trailing-dot": "folder./file",
    "leading-space": " starts",
    "trailing-space": "ends ",
    "folder-trailing-space": "folder /file",
    "newline": "a\nb",
    "tab": "a\tb",
    "carriage-return": "a\rb",
    "control": "a\x01b",
    "delete": "a\x7fb",
    "nul": "a\0b",
    "lone-surrogate": "a\udc80b",
    "not-a-character": "a\uffffb",
    "backslash": "a\\b",
    "double-slash": "a//b",
    "leading-slash": "/a",
    "leading-double-slash": "//a",
    "only-slash": "/",
    "trailing-slash": "a/",
    "trailing-double-slash": "a//",
    "dot": ".",
    "dot-inside": "a/./b",
    "dot-first": "./a",
    "dotdot": "..",
    "dotdot-inside": "a/../b",
    "dotdot-first": "../b",
    "dotdot-last": "a/..",
    "three-dots": "a/.../b",
    "drive": "C:/a",
    "long-segment": "n" * 255,
    "long-flat": "n" * 1024,
    "long-deep": "/".join(["d" * 63] * 16),
    "many-folders": "/".join("d" * 200),
    "capitals": "README",
}


class BodyBroke(Exception):
    """What a body raises in these tests."""


def content(
    store: Store,
    key: str,
    *,
    start: int = 0,
    length: int | None = None,
    version: str | None = None,
) -> bytes:
    """The bytes a read delivers, all of them."""
    with store.read(key, start=start, length=length, version=version) as stream:
        return b"".join(memoryview(piece) for piece in stream)


def keys(pages: Iterable[Page]) -> list[str]:
    """Keys of all objects of a listing, sorted."""
    return sorted(info.key for page in pages for info in page.objects)


def folder_names(pages: Iterable[Page]) -> list[str]:
    """Folders of a listing, sorted."""
    return sorted(folder for page in pages for folder in page.folders)


def everything(store: Store) -> dict[str, bytes]:
    """All keys and bytes of a store."""
    return {key: content(store, key) for key in keys(store.list())}


def broken_body(pieces: int, size: int) -> Iterator[bytes]:
    """Some good pieces, then `BodyBroke`."""
    for _ in range(pieces):
        yield b"x" * size
    raise BodyBroke


def neighbours(name: str) -> set[str]:
    """Other keys that a careless store would confuse with this one."""
    spellings = {
        "bystander",
        urllib.parse.unquote(name),
        urllib.parse.quote(name.encode("utf-8", "replace")),
        unicodedata.normalize("NFC", name),
        unicodedata.normalize("NFD", name),
        name.strip(),
        name.rstrip("."),
        name.strip("/"),
        name.replace("\\", "/"),
        name.replace("//", "/"),
        name.casefold(),
        name.partition("?")[0],
        name.partition("#")[0],
        name.partition("\0")[0],
        posixpath.normpath(name).lstrip("/."),
    }
    return {
        spelling
        for spelling in spellings - {name, ""}
        if not name.startswith(spelling + "/") and not spelling.startswith(name + "/")
    }


class StoreContract:
    """The promises of `datastores.storage.contract.Store`."""

    @pytest.fixture
    def store(self) -> Store:
        """An empty store, closed after the test."""
        raise NotImplementedError("a store's test class brings this fixture")

    def test_powers_face_their_contracts(self, store: Store) -> None:
        """A store has exactly the powers whose contracts its test class inherits."""
        contracts = {
            "staging": StagingContract,
            "renaming": RenamingContract,
            "copying": CopyingContract,
            "folders": FoldersContract,
        }

        claimed = {power for power in contracts if getattr(store, power) is not None}

        assert claimed == {power for power, cls in contracts.items() if isinstance(self, cls)}

    def test_written_bytes_are_read_back(self, store: Store) -> None:
        """What was written under a key is what a read of the key delivers."""
        store.write("folder/file.bin", b"hello")

        assert content(store, "folder/file.bin") == b"hello"

    def test_stat_describes_the_object(self, store: Store) -> None:
        """`stat` gives the key, size and version that the write gave."""
        written = store.write("file", b"hello")

        seen = store.stat("file")

        assert (seen.key, seen.size, seen.version) == ("file", 5, written.version)
        assert (written.key, written.size) == ("file", 5)
        assert seen.version

    def test_stat_knows_when(self, store: Store) -> None:
        """`stat` tells when the object was written, in nanoseconds since 1970."""
        store.write("file", b"hello")

        modified_ns = store.stat("file").modified_ns

        assert modified_ns is not None
        assert 1_600_000_000 < modified_ns / 1e9 < 4_000_000_000

    def test_stream_carries_info(self, store: Store) -> None:
        """A stream tells the key, version and whole size, also when a range was asked for."""
        written = store.write("file", b"0123456789")

        with store.read("file", start=2, length=3) as stream:
            info = stream.info

        assert (info.key, info.size, info.version) == ("file", 10, written.version)

    def test_overwrite_replaces(self, store: Store) -> None:
        """A second write replaces bytes and version."""
        first = store.write("file", b"a much longer first text")

        second = store.write("file", b"second")

        assert (content(store, "file"), store.stat("file").size) == (b"second", 6)
        assert first.version != second.version

    def test_same_size_overwrite_changes_version(self, store: Store) -> None:
        """Two writes of one size in quick succession have two versions when bytes differ."""
        versions = [store.write("file", bytes([n]) * 8).version for n in range(8)]

        assert len(set(versions)) == len(versions)

    def test_versions_tell_bytes_apart(self, store: Store) -> None:
        """Equal versions of a key mean equal bytes, also across deletion."""
        first = store.write("file", b"one")
        store.delete("file")

        second = store.write("file", b"two")

        assert first.version != second.version

    def test_missing_object(self, store: Store) -> None:
        """`stat` and `read` of nothing raise `NotFound` with the store's label and the key."""
        facts = []
        for act in (store.stat, lambda key: content(store, key)):
            with pytest.raises(NotFound) as caught:
                act("no/such file")
            facts.append((caught.value.store, caught.value.key, caught.value.temporary))

        assert facts == [(store.label, "no/such file", False)] * 2

    def test_folder_is_no_object(self, store: Store) -> None:
        """A folder, with or without its last slash, is `NotFound` for `stat` and `read`."""
        store.write("folder/file", b"x")

        for key in ("folder", "folder/"):
            with pytest.raises((NotFound, *REFUSALS)):
                store.stat(key)
            with pytest.raises((NotFound, *REFUSALS)):
                content(store, key)

    def test_object_is_no_folder(self, store: Store) -> None:
        """A key below an object is `NotFound`."""
        store.write("file", b"x")

        with pytest.raises(NotFound):
            store.stat("file/inside")
        with pytest.raises(NotFound):
            content(store, "file/inside")

    @pytest.mark.parametrize(
        ("start", "length", "want"),
        [
            (0, None, b"0123456789"),
            (0, 10, b"0123456789"),
            (3, None, b"3456789"),
            (3, 4, b"3456"),
            (9, 1, b"9"),
            (9, 5, b"9"),
            (0, 1000, b"0123456789"),
            (10, None, b""),
            (10, 5, b""),
            (1000, None, b""),
            (1000, 5, b""),
            (0, 0, b""),
            (5, 0, b""),
            (1000, 0, b""),
        ],
    )
    def test_range(self, store: Store, start: int, length: int | None, want: bytes) -> None:
        """A range delivers the bytes that exist in it, and none past the end."""
        store.write("file", b"0123456789")

        assert content(store, "file", start=start, length=length) == want

    @pytest.mark.parametrize(("start", "length"), [(0, None), (0, 0), (0, 5), (3, None), (3, 5)])
    def test_range_of_empty_object(self, store: Store, start: int, length: int | None) -> None:
        """An empty object has an empty answer to every range, and size 0."""
        store.write("empty", b"")

        got = content(store, "empty", start=start, length=length)

        assert (got, store.stat("empty").size) == (b"", 0)

    def test_range_of_missing_object(self, store: Store) -> None:
        """A range of nothing is `NotFound`, even an empty range."""
        for start, length in [(0, 0), (5, 5), (5, None)]:
            with pytest.raises(NotFound):
                content(store, "missing", start=start, length=length)

    def test_read_of_a_version(self, store: Store) -> None:
        """A read pinned to the present version delivers it, range or not."""
        version = store.write("file", b"0123456789").version

        whole = content(store, "file", version=version)
        part = content(store, "file", start=2, length=3, version=version)

        assert (whole, part) == (b"0123456789", b"234")

    @pytest.mark.parametrize(("start", "length"), [(0, None), (2, 3), (0, 0), (1000, 5)])
    def test_read_of_a_past_version(self, store: Store, start: int, length: int | None) -> None:
        """A read pinned to a version that was replaced raises and delivers nothing."""
        past = store.write("file", b"first").version
        store.write("file", b"second")

        with pytest.raises(PreconditionFailed) as caught:
            content(store, "file", start=start, length=length, version=past)

        assert (caught.value.store, caught.value.key) == (store.label, "file")

    def test_open_stream_is_one_version(self, store: Store) -> None:
        """A stream opened before a replacement delivers the old bytes, or raises."""
        old = NINE_MIB
        store.write("file", old)
        got: bytes | None = None
        raised: StoreError | None = None

        with store.read("file") as stream:
            pieces = iter(stream)
            first = bytes(next(pieces))
            store.write("file", b"n" * len(old))
            try:
                got = first + b"".join(memoryview(piece) for piece in pieces)
            except StoreError as error:
                raised = error

        if raised is None:
            assert got == old
        else:
            assert (raised.store, raised.key) == (store.label, "file")

    def test_absent_writes_once(self, store: Store) -> None:
        """A write `ABSENT` makes the object; a second one is refused and changes nothing."""
        store.write("file", b"first", only_if=ABSENT)

        with pytest.raises(AlreadyExists) as caught:
            store.write("file", b"second", only_if=ABSENT)

        assert (caught.value.store, caught.value.key) == (store.label, "file")
        assert content(store, "file") == b"first"

    def test_absent_after_delete(self, store: Store) -> None:
        """A deleted object is absent."""
        store.write("file", b"first")
        store.delete("file")

        store.write("file", b"second", only_if=ABSENT)

        assert content(store, "file") == b"second"

    def test_conditional_write_wins_on_present_version(self, store: Store) -> None:
        """A write against the present version replaces it."""
        first = store.write("file", b"first")

        second = store.write("file", b"second", only_if=first.version)

        assert (content(store, "file"), store.stat("file").version) == (b"second", second.version)

    def test_conditional_write_loses_to_an_earlier_writer(self, store: Store) -> None:
        """A write made against a stale version fails, and the earlier writer's bytes survive."""
        first = store.write("model.pt", b"epoch 1")
        store.write("model.pt", b"epoch 2", only_if=first.version)

        with pytest.raises(PreconditionFailed) as refused:
            store.write("model.pt", b"epoch 1b", only_if=first.version)

        assert (refused.value.store, refused.value.key) == (store.label, "model.pt")
        assert content(store, "model.pt") == b"epoch 2"

    def test_conditional_write_of_a_deleted_version(self, store: Store) -> None:
        """A write against a version that was deleted fails and makes nothing."""
        first = store.write("file", b"first")
        store.delete("file")

        with pytest.raises(PreconditionFailed):
            store.write("file", b"second", only_if=first.version)

        assert keys(store.list()) == []

    def test_conditional_write_from_pieces(self, store: Store) -> None:
        """Conditions hold for large bodies that arrive in pieces, too."""
        first = store.write("file", b"first")
        store.write("file", b"second")
        body = [NINE_MIB[: 3 * MIB], NINE_MIB[3 * MIB :]]

        with pytest.raises(PreconditionFailed):
            store.write("file", iter(body), only_if=first.version)
        with pytest.raises(AlreadyExists):
            store.write("file", iter(body), only_if=ABSENT)

        assert content(store, "file") == b"second"

    def test_race_for_absent(self, store: Store) -> None:
        """Of 16 writers that ask for `ABSENT` at once, one wins where conditions are atomic."""
        barrier = threading.Barrier(16)

        def write(number: int) -> int | None:
            barrier.wait(timeout=30)
            try:
                store.write("lock", b"%02d" % number, only_if=ABSENT)
            except AlreadyExists:
                return None
            return number

        with ThreadPoolExecutor(16) as pool:
            winners = [number for number in pool.map(write, range(16)) if number is not None]

        assert int(content(store, "lock")) in winners
        assert len(winners) == 1 or not store.features.atomic_conditions

    @pytest.mark.parametrize(
        "make_body",
        [
            lambda: bytearray(b"abcdefgh"),
            lambda: memoryview(b"-abcdefgh-")[1:-1],
            lambda: memoryview(array.array("I", [0x64636261, 0x68676665])),
            lambda: [b"abcd", b"efgh"],
            lambda: iter([b"", b"abc", bytearray(b"de"), memoryview(b"fgh"), b""]),
        ],
        ids=["bytearray", "slice", "four-byte-items", "list", "iterator"],
    )
    def test_body_kinds(self, store: Store, make_body: Callable[[], Body]) -> None:
        """Any buffer, and any iterable of buffers, is a body."""
        written = store.write("file", make_body())

        assert (content(store, "file"), written.size) == (b"abcdefgh", 8)

    def test_empty_iterable_is_an_empty_object(self, store: Store) -> None:
        """A body without pieces makes an empty object."""
        store.write("file", iter(()))

        assert (content(store, "file"), store.stat("file").size) == (b"", 0)

    @pytest.mark.parametrize("pieces", [0, 1, 9])
    def test_broken_body_leaves_the_old_object(self, store: Store, pieces: int) -> None:
        """A body that raises midway raises its own error, and the old object stays as it was."""
        old = store.write("file", b"old")

        with pytest.raises(BodyBroke):
            store.write("file", broken_body(pieces, MIB))

        assert (everything(store), store.stat("file").version) == ({"file": b"old"}, old.version)

    @pytest.mark.parametrize("pieces", [0, 1, 9])
    def test_broken_body_makes_nothing(self, store: Store, pieces: int) -> None:
        """A body that raises midway leaves no object, and nothing in a listing."""
        with pytest.raises(BodyBroke):
            store.write("folder/file", broken_body(pieces, MIB))

        assert keys(store.list()) == []
        with pytest.raises(NotFound):
            store.stat("folder/file")

    def test_metadata(self, store: Store) -> None:
        """Metadata comes back from `stat` and `read` where the store keeps it, else none does."""
        given = {"owner": "vision", "source": "camera-7 / north"}
        want = given if store.features.keeps_metadata else {}
        store.write("file", b"x", metadata=given)

        seen = dict(store.stat("file").metadata)
        with store.read("file") as stream:
            streamed = dict(stream.info.metadata)

        assert (seen, streamed) == (want, want)

    def test_overwrite_drops_metadata(self, store: Store) -> None:
        """Metadata belongs to one version: the next write starts without."""
        store.write("file", b"x", metadata={"owner": "vision"})

        store.write("file", b"y")

        assert dict(store.stat("file").metadata) == {}

    def test_delete(self, store: Store) -> None:
        """A deleted object is gone from `stat` and listings; its neighbours stay."""
        for key in ("a/file", "a/file2", "a/fil"):
            store.write(key, b"x")

        store.delete("a/file")

        assert keys(store.list()) == ["a/fil", "a/file2"]
        with pytest.raises(NotFound):
            store.stat("a/file")

    def test_delete_twice(self, store: Store) -> None:
        """Deleting what is not there is no error."""
        store.write("file", b"x")
        store.delete("file")

        store.delete("file")
        store.delete("never/was")

        assert keys(store.list()) == []

    def test_delete_of_a_folder_removes_nothing(self, store: Store) -> None:
        """Deleting a folder's name as if it were an object leaves the objects below it."""
        store.write("folder/file", b"x")

        with contextlib.suppress(*REFUSALS):
            store.delete("folder")

        assert everything(store) == {"folder/file": b"x"}

    def test_list_is_by_text_prefix(self, store: Store) -> None:
        """A listing holds every key that starts with the text: `foo` lists `foobar`, too."""
        for key in ("foo/a", "foo/b/c", "foobar", "fo", "bar/foo"):
            store.write(key, b"x")

        got = {prefix: keys(store.list(prefix)) for prefix in ("foo", "foo/", "foo/b", "x")}

        assert got == {
            "foo": ["foo/a", "foo/b/c", "foobar"],
            "foo/": ["foo/a", "foo/b/c"],
            "foo/b": ["foo/b/c"],
            "x": [],
        }

    def test_list_prefix_inside_a_segment(self, store: Store) -> None:
        """A prefix may end inside a segment or name a whole key."""
        for key in ("a/bc/d", "a/bd", "a/c"):
            store.write(key, b"x")

        assert keys(store.list("a/b")) == ["a/bc/d", "a/bd"]
        assert keys(store.list("a/bc/d")) == ["a/bc/d"]
        assert keys(store.list("a/bc/d/")) == []

    def test_list_everything(self, store: Store) -> None:
        """Without a prefix every object is listed once, with its size, and no folders."""
        want = {f"d{n % 7}/file{n}": n for n in range(50)}
        for key, size in want.items():
            store.write(key, b"x" * size)

        pages = list(store.list())

        got = [(info.key, info.size) for page in pages for info in page.objects]
        assert sorted(got) == sorted(want.items())
        assert folder_names(pages) == []

    def test_list_of_an_empty_store(self, store: Store) -> None:
        """An empty store has empty listings."""
        assert keys(store.list()) == []
        assert keys(store.list("x")) == []

    def test_listed_version_is_the_true_one(self, store: Store) -> None:
        """A listing that carries versions carries those that `stat` gives."""
        store.write("a", b"one")
        store.write("d/b", b"two")

        listed = [
            info
            for pages in (store.list(), store.list_folder(), store.list_folder("d"))
            for page in pages
            for info in page.objects
        ]

        assert len(listed) == 4
        for info in listed:
            assert info.version in (None, store.stat(info.key).version)

    def test_pages_are_lazy(self, store: Store) -> None:
        """Listings are iterators that may be dropped after their first page."""
        for n in range(3):
            store.write(f"d/{n}", b"x")

        for pages in (store.list(), store.list_folder("d")):
            assert isinstance(pages, Iterator)
            assert isinstance(next(pages), Page)
            # Nothing is held while the caller has a page.
            store.write("d/1", b"x")
            del pages

        assert keys(store.list()) == ["d/0", "d/1", "d/2"]

    def test_list_folder(self, store: Store) -> None:
        """A folder's listing holds its own objects, and folders as keys without a last slash."""
        for key in ("top", "a/one", "a/two", "a/b/three", "a/b/c/four", "ab/five"):
            store.write(key, b"x")

        got = {
            place: (keys(pages), folder_names(pages))
            for place in ("", "a", "a/b", "a/b/c")
            for pages in [list(store.list_folder(place))]
        }

        assert got == {
            "": (["top"], ["a", "ab"]),
            "a": (["a/one", "a/two"], ["a/b"]),
            "a/b": (["a/b/three"], ["a/b/c"]),
            "a/b/c": (["a/b/c/four"], []),
        }

    def test_list_folder_names_each_folder_once(self, store: Store) -> None:
        """A folder with many objects appears once among all pages."""
        for n in range(30):
            store.write(f"many/{n}", b"x")

        assert folder_names(store.list_folder()) == ["many"]

    def test_list_folder_of_nothing(self, store: Store) -> None:
        """A place that does not exist, and a place that is an object, have nothing below."""
        store.write("file", b"x")

        for place in ("missing", "missing/deep", "file"):
            pages = list(store.list_folder(place))
            assert (keys(pages), folder_names(pages)) == ([], [])

    def test_marker_is_not_a_child(self, store: Store) -> None:
        """A zero byte object `place/` is no child of `place`, and shows as folder one above."""
        store.write("place/file", b"x")
        try:
            store.write("place/", b"")
            store.write("place/empty/", b"")
        except REFUSALS:
            inner = []
        else:
            inner = ["place/empty"]

        above, inside = list(store.list_folder()), list(store.list_folder("place"))

        assert (keys(above), folder_names(above)) == ([], ["place"])
        assert (keys(inside), folder_names(inside)) == (["place/file"], inner)

    def test_object_beside_folder_of_its_name(self, store: Store) -> None:
        """`a` stands beside `a/b` in flat stores; where folders are real the write says no."""
        store.write("a", b"object")

        if store.features.real_folders:
            with pytest.raises((Unsupported, AlreadyExists)) as caught:
                store.write("a/b", b"inside")
            assert (caught.value.store, caught.value.key) == (store.label, "a/b")
            assert everything(store) == {"a": b"object"}
        else:
            store.write("a/b", b"inside")
            assert everything(store) == {"a": b"object", "a/b": b"inside"}
            pages = list(store.list_folder())
            assert (keys(pages), folder_names(pages)) == (["a"], ["a"])

    def test_object_named_like_a_folder(self, store: Store) -> None:
        """An object cannot take a real folder's name; in flat stores it can."""
        store.write("a/b", b"inside")

        if store.features.real_folders:
            with pytest.raises((Unsupported, AlreadyExists)) as caught:
                store.write("a", b"object")
            assert (caught.value.store, caught.value.key) == (store.label, "a")
            assert everything(store) == {"a/b": b"inside"}
        else:
            store.write("a", b"object")
            assert everything(store) == {"a": b"object", "a/b": b"inside"}

    @pytest.mark.parametrize("name", list(HARD_NAMES.values()), ids=list(HARD_NAMES))
    def test_hard_name(self, store: Store, name: str) -> None:
        """A name either works everywhere exactly as spelled, or is refused; no other key changes."""
        before = {}
        for number, neighbour in enumerate(sorted(neighbours(name))):
            try:
                store.write(neighbour, b"neighbour %d" % number)
            except (*REFUSALS, AlreadyExists):
                continue
            before[neighbour] = b"neighbour %d" % number

        try:
            written = store.write(name, b"hard")
        except (*REFUSALS, AlreadyExists) as refusal:
            named = refusal.name if isinstance(refusal, NameRejected) else refusal.key
            assert named == name
            assert everything(store) == before
            return
        after = everything(store)
        seen = (store.stat(name).key, content(store, name), keys(store.list(name)))
        store.delete(name)

        assert written.key == name
        assert after == before | {name: b"hard"}
        assert seen == (name, b"hard", sorted(key for key in after if key.startswith(name)))
        assert everything(store) == before

    @pytest.mark.parametrize("name", list(HARD_NAMES.values()), ids=list(HARD_NAMES))
    def test_hard_name_of_nothing(self, store: Store, name: str) -> None:
        """Looking for a hard name in an empty store is `NotFound` or a refusal, nothing else."""
        with pytest.raises((NotFound, *REFUSALS)):
            store.stat(name)
        with pytest.raises((NotFound, *REFUSALS)):
            content(store, name)
        with contextlib.suppress(*REFUSALS):
            store.delete(name)

    @pytest.mark.parametrize("place", ["two words", "a%20b", "a#b+c?", "é\U0001f69a", ".hidden"])
    def test_hard_folder(self, store: Store, place: str) -> None:
        """Folders with hard names list under exactly that name, or are refused."""
        try:
            store.write(f"{place}/file", b"x")
        except REFUSALS:
            assert everything(store) == {}
            return

        inside = list(store.list_folder(place))

        assert folder_names(store.list_folder()) == [place]
        assert (keys(inside), folder_names(inside)) == ([f"{place}/file"], [])

    def test_empty_key(self, store: Store) -> None:
        """The empty text is not a key: nothing is written under it."""
        with pytest.raises(REFUSALS):
            store.write("", b"x")
        with pytest.raises((NotFound, *REFUSALS)):
            store.stat("")

        assert keys(store.list()) == []

    def test_key_too_long(self, store: Store) -> None:
        """A key longer than the store's longest is refused by name before anything is sent."""
        longest = store.features.longest_key
        key = ("d" * 99 + "/") * (longest // 100) + "n" * (longest % 100 + 1)

        with pytest.raises(REFUSALS) as caught:
            store.write(key, b"x")

        assert len(key) == longest + 1
        assert caught.value.temporary is False
        assert keys(store.list()) == []

    def test_stream_closes_twice(self, store: Store) -> None:
        """A stream may be closed twice, before, during and after its pieces were taken."""
        store.write("file", NINE_MIB)
        for taken in (0, 1, None):
            stream = store.read("file")
            pieces = iter(stream)
            for _ in range(taken) if taken is not None else pieces:
                if taken is not None:
                    next(pieces)
            stream.close()
            stream.close()

        assert content(store, "file", start=9 * MIB - 2) == NINE_MIB[-3:]

    def test_stream_leaves_with_block_on_error(self, store: Store) -> None:
        """An error inside the `with` block comes out unchanged and the store works on."""
        store.write("file", NINE_MIB)

        def break_midway() -> None:
            with store.read("file") as stream:
                for _ in stream:
                    raise BodyBroke

        with pytest.raises(BodyBroke):
            break_midway()

        assert store.stat("file").size == len(NINE_MIB)

    def test_many_abandoned_streams(self, store: Store) -> None:
        """Streams closed after their first piece do not use up the store's connections."""
        store.write("file", NINE_MIB)

        for _ in range(40):
            with store.read("file") as stream:
                next(iter(stream))

        assert content(store, "file", length=3) == NINE_MIB[:3]

    def test_big_object(self, store: Store) -> None:
        """A 9 MiB object written from bytes comes back exactly, whole and across boundaries."""
        written = store.write("big", NINE_MIB)

        assert written.size == len(NINE_MIB)
        assert content(store, "big") == NINE_MIB
        for edge in (4 * MIB, 8 * MIB, 9 * MIB):
            part = content(store, "big", start=edge - 3, length=7)
            assert part == NINE_MIB[edge - 3 : edge + 4]

    def test_big_object_from_pieces(self, store: Store) -> None:
        """A 9 MiB object written from uneven pieces is the pieces joined."""
        sizes = [1, 4 * MIB - 1, 4 * MIB + 1, MIB - 1, 1]
        starts = [sum(sizes[:n]) for n in range(len(sizes))]

        written = store.write(
            "big", (NINE_MIB[at : at + size] for at, size in zip(starts, sizes, strict=True))
        )

        assert written.size == store.stat("big").size == len(NINE_MIB)
        assert content(store, "big") == NINE_MIB

    def test_threads_on_distinct_keys(self, store: Store) -> None:
        """16 threads that write, read and list at once each get their own bytes back."""

        def work(number: int) -> list[bytes]:
            got = []
            for turn in range(4):
                key = f"t{number:02d}/{turn}"
                store.write(key, b"%02d-%d" % (number, turn) * 1000)
                got.append(content(store, key)[:4])
            assert keys(store.list(f"t{number:02d}/")) == [f"t{number:02d}/{n}" for n in range(4)]
            return got

        with ThreadPoolExecutor(16) as pool:
            got = list(pool.map(work, range(16)))

        assert got == [[b"%02d-%d" % (number, turn) for turn in range(4)] for number in range(16)]

    def test_threads_on_one_key(self, store: Store) -> None:
        """While 8 threads replace an object, 8 readers see whole versions only."""
        size = 300_000
        store.write("file", b"a" * size)
        barrier = threading.Barrier(16)

        def write(number: int) -> set[tuple[int, int]]:
            barrier.wait(timeout=30)
            for _ in range(4):
                store.write("file", bytes([98 + number]) * size)
            return set()

        def read(_: int) -> set[tuple[int, int]]:
            barrier.wait(timeout=30)
            seen = set()
            for _ in range(8):
                try:
                    body = content(store, "file")
                except PreconditionFailed:
                    continue
                seen.add((len(body), len(set(body))))
            return seen

        with ThreadPoolExecutor(16) as pool:
            jobs = [pool.submit(write if n % 2 else read, n) for n in range(16)]
            seen = set().union(*(job.result() for job in jobs))

        assert seen <= {(size, 1)}
        assert store.stat("file").size == size

    def test_check(self, store: Store) -> None:
        """A store that exists passes its check, and making it again changes nothing."""
        store.write("file", b"x")

        store.check()
        store.check(create=True)

        assert everything(store) == {"file": b"x"}

    def test_label_and_identity_are_texts(self, store: Store) -> None:
        """A store has a label for people and an identity for caches, the same at every look."""
        names = [(store.label, store.identity) for _ in range(2)]

        assert names[0] == names[1]
        assert all(names[0])

    def test_close_twice(self, store: Store) -> None:
        """Closing a store again is fine."""
        store.write("file", b"x")

        store.close()
        store.close()

        assert store.label


class StagingContract:
    """The promises of `datastores.storage.contract.Staging`."""

    @pytest.fixture
    def staging(self, store: Store) -> Staging:
        assert store.staging is not None
        return store.staging

    def test_staged_blocks_are_invisible(self, store: Store, staging: Staging) -> None:
        """Blocks that were not committed are in no listing, and `stat` finds nothing."""
        staging.stage("folder/file", "0001", b"one")

        assert keys(store.list()) == []
        with pytest.raises(NotFound):
            store.stat("folder/file")

    def test_staged_blocks_leave_the_object(self, store: Store, staging: Staging) -> None:
        """Staging beside an object leaves its bytes and version as they are."""
        old = store.write("file", b"old")

        staging.stage("file", "0001", b"new")

        assert (content(store, "file"), store.stat("file").version) == (b"old", old.version)

    def test_staged_lists_blocks(self, staging: Staging) -> None:
        """`staged` tells the blocks that were sent, with their sizes."""
        staging.stage("file", "0001", b"one")
        staging.stage("file", "0002", b"three")

        assert set(staging.staged("file")) == {Block("0001", 3), Block("0002", 5)}

    def test_nothing_staged(self, store: Store, staging: Staging) -> None:
        """A key that nobody staged has no blocks, whether it exists or not."""
        store.write("file", b"x")

        assert [list(staging.staged(key)) for key in ("missing", "file")] == [[], []]
        assert [list(staging.committed(key)) for key in ("missing", "file")] == [[], []]

    def test_commit_in_any_order(self, store: Store, staging: Staging) -> None:
        """The object is the blocks in the order of the commit, not of the staging."""
        for block_id, body in [("0003", b"c"), ("0001", b"a"), ("0002", b"b")]:
            staging.stage("file", block_id, body)

        written = staging.commit("file", ["0002", "0003", "0001"])

        seen = store.stat("file")
        assert content(store, "file") == b"bca"
        assert (written.key, written.size, written.version) == ("file", 3, seen.version)
        assert list(staging.committed("file")) == [
            Block("0002", 1),
            Block("0003", 1),
            Block("0001", 1),
        ]

    def test_commit_ends_staging(self, staging: Staging) -> None:
        """After a commit nothing is staged, also blocks the commit left out."""
        staging.stage("file", "0001", b"a")
        staging.stage("file", "0002", b"b")

        staging.commit("file", ["0001"])

        assert list(staging.staged("file")) == []

    def test_stage_again_replaces(self, store: Store, staging: Staging) -> None:
        """The same id sent again replaces the block."""
        staging.stage("file", "0001", b"first try")
        staging.stage("file", "0001", b"second")

        blocks = list(staging.staged("file"))
        staging.commit("file", ["0001"])

        assert blocks == [Block("0001", 6)]
        assert content(store, "file") == b"second"

    def test_append_reuses_committed_blocks(self, store: Store, staging: Staging) -> None:
        """A commit may name blocks of the present object beside new ones: an append."""
        staging.stage("log", "0001", b"one,")
        staging.stage("log", "0002", b"two,")
        staging.commit("log", ["0001", "0002"])

        staging.stage("log", "0003", b"three")
        staging.commit("log", ["0001", "0002", "0003"])

        assert content(store, "log") == b"one,two,three"

    def test_restaged_committed_block_is_the_new_one(self, store: Store, staging: Staging) -> None:
        """Of a committed and a staged block with one id, a commit takes the staged one."""
        staging.stage("file", "0001", b"old")
        staging.commit("file", ["0001"])

        staging.stage("file", "0001", b"new")
        staging.commit("file", ["0001"])

        assert content(store, "file") == b"new"

    def test_commit_of_unknown_block(self, store: Store, staging: Staging) -> None:
        """A commit that names a block nobody sent is refused and leaves the old object."""
        store.write("file", b"old")
        staging.stage("file", "0001", b"new")

        with pytest.raises(StoreError) as caught:
            staging.commit("file", ["0001", "0009"])

        assert (caught.value.store, caught.value.key) == (store.label, "file")
        assert (caught.value.temporary, content(store, "file")) == (False, b"old")

    def test_commit_of_nothing(self, store: Store, staging: Staging) -> None:
        """A commit of no blocks is an empty object."""
        staging.commit("empty", [])

        assert (content(store, "empty"), store.stat("empty").size) == (b"", 0)

    def test_commit_conditions(self, store: Store, staging: Staging) -> None:
        """A commit obeys `only_if` like a write, and a refused one leaves the old object."""
        first = store.write("file", b"first")
        second = store.write("file", b"second")
        staging.stage("file", "0001", b"third")

        with pytest.raises(AlreadyExists):
            staging.commit("file", ["0001"], only_if=ABSENT)
        with pytest.raises(PreconditionFailed) as caught:
            staging.commit("file", ["0001"], only_if=first.version)
        before = content(store, "file")
        staging.commit("file", ["0001"], only_if=second.version)

        assert (caught.value.store, caught.value.key) == (store.label, "file")
        assert (before, content(store, "file")) == (b"second", b"third")

    def test_commit_absent(self, store: Store, staging: Staging) -> None:
        """A commit `ABSENT` makes an object that was not there."""
        staging.stage("file", "0001", b"new")

        staging.commit("file", ["0001"], only_if=ABSENT)

        assert content(store, "file") == b"new"

    def test_commit_keeps_metadata_and_md5(self, store: Store, staging: Staging) -> None:
        """Metadata and digest of a commit come back from `stat`."""
        digest = bytes(range(16))
        staging.stage("file", "0001", b"new")

        staging.commit("file", ["0001"], metadata={"owner": "vision"}, md5=digest)

        seen = store.stat("file")
        assert (dict(seen.metadata), seen.md5) == ({"owner": "vision"}, digest)

    def test_block_kinds(self, store: Store, staging: Staging) -> None:
        """Any buffer is a block."""
        staging.stage("file", "0001", memoryview(b"-abc-")[1:-1])
        staging.stage("file", "0002", bytearray(b"def"))

        staging.commit("file", ["0001", "0002"])

        assert content(store, "file") == b"abcdef"

    def test_threads_stage_one_object(self, store: Store, staging: Staging) -> None:
        """16 threads that stage blocks of one object lose none."""
        ids = [f"{number:04d}" for number in range(32)]

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda block_id: staging.stage("file", block_id, block_id.encode()), ids))
        staging.commit("file", ids)

        assert content(store, "file") == "".join(ids).encode()


class RenamingContract:
    """The promises of `datastores.storage.contract.Renaming`."""

    @pytest.fixture
    def renaming(self, store: Store) -> Renaming:
        assert store.renaming is not None
        return store.renaming

    def test_rename_file(self, store: Store, renaming: Renaming) -> None:
        """A renamed file has its bytes under the new key, in a folder that need not exist."""
        store.write("old", b"x")

        renaming.rename("old", "new/deep/name")

        assert everything(store) == {"new/deep/name": b"x"}

    def test_rename_over_a_file(self, store: Store, renaming: Renaming) -> None:
        """An existing file under the new key is replaced."""
        store.write("old", b"new bytes")
        store.write("new", b"old bytes")

        renaming.rename("old", "new")

        assert everything(store) == {"new": b"new bytes"}

    def test_rename_folder(self, store: Store, renaming: Renaming) -> None:
        """A renamed folder takes everything below it along, and no neighbour."""
        for key in ("a/one", "a/b/two", "ab/three"):
            store.write(key, key.encode())

        renaming.rename("a", "c/d")

        assert everything(store) == {
            "c/d/one": b"a/one",
            "c/d/b/two": b"a/b/two",
            "ab/three": b"ab/three",
        }

    def test_rename_of_nothing(self, store: Store, renaming: Renaming) -> None:
        """Renaming what is not there is `NotFound` and leaves the target."""
        store.write("new", b"x")

        with pytest.raises(NotFound) as caught:
            renaming.rename("old", "new")

        assert (caught.value.store, caught.value.key) == (store.label, "old")
        assert everything(store) == {"new": b"x"}

    def test_rename_to_itself(self, store: Store, renaming: Renaming) -> None:
        """Renaming to the same key loses nothing."""
        store.write("file", b"x")

        renaming.rename("file", "file")

        assert everything(store) == {"file": b"x"}

    def test_rename_into_itself(self, store: Store, renaming: Renaming) -> None:
        """A folder cannot go into itself, and trying loses nothing."""
        store.write("a/file", b"x")

        with pytest.raises(StoreError) as caught:
            renaming.rename("a", "a/b")

        assert (caught.value.store, caught.value.temporary) == (store.label, False)
        assert everything(store) == {"a/file": b"x"}

    @pytest.mark.parametrize("name", ["two words", "a%20b", "é\U0001f69a", "a#b?c+d"])
    def test_rename_to_hard_name(self, store: Store, renaming: Renaming, name: str) -> None:
        """A new name arrives exactly as it is spelled, or is refused."""
        store.write("old", b"x")

        try:
            renaming.rename("old", name)
        except REFUSALS:
            assert everything(store) == {"old": b"x"}
            return
        arrived = everything(store)
        renaming.rename(name, "old")

        assert (arrived, everything(store)) == ({name: b"x"}, {"old": b"x"})


class CopyingContract:
    """The promises of `datastores.storage.contract.Copying`."""

    @pytest.fixture
    def copying(self, store: Store) -> Copying:
        assert store.copying is not None
        return store.copying

    def test_copy(self, store: Store, copying: Copying) -> None:
        """A copy has the bytes, and the source stays."""
        store.write("old", NINE_MIB)

        made = copying.copy("old", "new/deep/copy")

        seen = store.stat("new/deep/copy")
        assert everything(store) == {"old": NINE_MIB, "new/deep/copy": NINE_MIB}
        assert (made.key, made.size, made.version) == (seen.key, seen.size, seen.version)

    def test_copy_over_a_file(self, store: Store, copying: Copying) -> None:
        """An existing object under the new key is replaced, with a new version."""
        store.write("old", b"new bytes")
        before = store.write("new", b"old bytes")

        made = copying.copy("old", "new")

        assert everything(store) == {"old": b"new bytes", "new": b"new bytes"}
        assert made.version != before.version

    def test_copy_of_nothing(self, store: Store, copying: Copying) -> None:
        """Copying what is not there is `NotFound` and leaves the target."""
        store.write("new", b"x")

        with pytest.raises(NotFound) as caught:
            copying.copy("old", "new")

        assert (caught.value.store, caught.value.key) == (store.label, "old")
        assert everything(store) == {"new": b"x"}

    def test_copy_to_itself(self, store: Store, copying: Copying) -> None:
        """A copy onto itself loses nothing."""
        store.write("file", b"x")

        copying.copy("file", "file")

        assert everything(store) == {"file": b"x"}

    @pytest.mark.parametrize("name", ["two words", "a%20b", "é\U0001f69a", "a#b?c+d"])
    def test_copy_of_hard_name(self, store: Store, copying: Copying, name: str) -> None:
        """Source and target are exactly the names as spelled, or are refused."""
        try:
            store.write(name, b"x")
        except REFUSALS:
            assert everything(store) == {}
            return

        copying.copy(name, f"copies/{name}")

        assert everything(store) == {name: b"x", f"copies/{name}": b"x"}

    def test_copy_from_signed_url(self, store: Store, copying: Copying) -> None:
        """A signed address of an object is copied from, or the store says that it cannot."""
        source = store.write("old name", b"bytes")
        url = copying.signed_url("old name", lifetime_seconds=60)
        before = everything(store)

        if url is None:
            with pytest.raises(Unsupported) as caught:
                copying.copy_from("https://elsewhere.invalid/x?sig=none", "new", source)
            assert (caught.value.store, caught.value.key) == (store.label, "new")
            assert everything(store) == before
            return
        try:
            made: ObjectInfo | None = copying.copy_from(url, "new", source)
        except Unsupported:
            made = None
        assert everything(store) == (before | {"new": b"bytes"} if made else before)


class FoldersContract:
    """The promises of `datastores.storage.contract.Folders`."""

    @pytest.fixture
    def folders(self, store: Store) -> Folders:
        assert store.folders is not None
        return store.folders

    def test_made_folder_shows(self, store: Store, folders: Folders) -> None:
        """An empty folder is listed by its parent, holds nothing and is no object."""
        folders.make_folder("outer/inner folder")

        outer, inner = (list(store.list_folder(at)) for at in ("outer", "outer/inner folder"))

        assert folder_names(store.list_folder()) == ["outer"]
        assert (keys(outer), folder_names(outer)) == ([], ["outer/inner folder"])
        assert (keys(inner), folder_names(inner)) == ([], [])
        with pytest.raises(NotFound):
            store.stat("outer/inner folder")

    def test_make_folder_twice(self, store: Store, folders: Folders) -> None:
        """Making a folder again is fine, and leaves what is inside."""
        folders.make_folder("folder")
        store.write("folder/file", b"x")

        folders.make_folder("folder")

        assert content(store, "folder/file") == b"x"
        assert folder_names(store.list_folder()) == ["folder"]

    def test_made_folder_outlives_its_content(self, store: Store, folders: Folders) -> None:
        """A folder that was made stays when its last object is deleted."""
        folders.make_folder("folder")
        store.write("folder/file", b"x")

        store.delete("folder/file")

        assert folder_names(store.list_folder()) == ["folder"]

    def test_remove_folder(self, store: Store, folders: Folders) -> None:
        """A removed empty folder is gone; removing it again is fine."""
        folders.make_folder("folder")

        folders.remove_folder("folder")
        folders.remove_folder("folder")

        assert folder_names(store.list_folder()) == []
        assert keys(store.list()) == []

    def test_remove_folder_with_content(self, store: Store, folders: Folders) -> None:
        """A folder with something in it is not removed."""
        folders.make_folder("folder")
        store.write("folder/file", b"x")

        with pytest.raises(Unsupported) as caught:
            folders.remove_folder("folder")

        assert (caught.value.store, caught.value.key) == (store.label, "folder")
        assert content(store, "folder/file") == b"x"

    def test_remove_folder_with_folder(self, store: Store, folders: Folders) -> None:
        """A folder with an empty folder in it is not removed."""
        folders.make_folder("folder/inner")

        with pytest.raises(Unsupported):
            folders.remove_folder("folder")

        assert folder_names(store.list_folder("folder")) == ["folder/inner"]
