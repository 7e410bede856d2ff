"""Which versions were opened, as a mount notes them."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mount.fs.contents import Content
from mount.fs.seen import Seen
from mount.fs.version_pages import PAGE_BYTES, Gap, Page, drop_pages, last_page, lines, page_after
from mount.fs.versions_opened import VersionsOpened
from tests.mount.fs.conftest import Mounted, MountIt, put

NAMES = 100_000
# Writes lines without end into pages of the folder it is given, and says how many are there.
_WRITER = """
import sys
from pathlib import Path
from mount.fs.contents import Content
from mount.fs.versions_opened import VersionsOpened
notes = VersionsOpened.begin(Path(sys.argv[1]), "", lambda act: act())
for number in range(1 << 40):
    notes.note(Content(f"file-{number}", "etag", number))
    if number % 5000 == 0:
        print(number, flush=True)
"""


def _noted(folder: Path) -> list[Any]:
    return sorted(json.loads(line) for line in lines(folder))


def _fact(mounted: Mounted, key: str) -> list[Any]:
    info = mounted.store.inner.stat(key)
    return [info.key, info.size, info.version]


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return tmp_path / "notes"


def test_what_is_opened_is_noted_and_nothing_else(mounted: Mounted, notes: Path) -> None:
    """Opened files are noted once with size and version, however read; what is listed is not."""
    for key in ("d/a", "d/b", "d/empty", "d/never"):
        put(mounted, key, b"" if key == "d/empty" else b"bytes")
    mounted.fs.note_versions(notes)

    mounted.kernel.list("d")
    mounted.kernel.stat("d/never")
    for _ in range(3):
        mounted.kernel.read("d/a", backed=True)
        mounted.kernel.read("d/b")
    mounted.kernel.read("d/empty")

    assert _noted(notes) == [_fact(mounted, key) for key in ("d/a", "d/b", "d/empty")]


def test_names_are_those_below_the_root(mount_it: MountIt, notes: Path) -> None:
    """A mount of a folder notes names below it, also such as no text has."""
    mounted = mount_it(place="train", read_only=True)
    names = ["a", 'b "quoted", \\ and\nbroken', "c\udcff", "é/ü"]
    for name in names:
        put(mounted, f"train/{name}", b"x")
    mounted.fs.note_versions(notes)

    for name in names:
        mounted.kernel.read(name)

    assert [name for name, _, _ in _noted(notes)] == sorted(names)
    # As whoever lists downloads spells them.
    assert sorted(lines(notes)) == sorted(
        json.dumps(one, separators=(",", ":")).encode() + b"\n" for one in _noted(notes)
    )


def test_a_replaced_object_is_noted_with_both_versions(mount_it: MountIt, notes: Path) -> None:
    """When an object changes between two opens, both versions are noted."""
    mounted = mount_it(name_seconds=0.0, attribute_seconds=0.0)
    put(mounted, "x", b"older")
    mounted.fs.note_versions(notes)
    mounted.kernel.read("x", backed=True)
    before = _fact(mounted, "x")

    put(mounted, "x", b"newer bytes")
    mounted.kernel.read("x", backed=True)

    assert _noted(notes) == sorted([before, _fact(mounted, "x")])


def test_the_version_that_is_read_is_noted(mounted: Mounted, notes: Path) -> None:
    """When the object is another one than the listing said, the one that is read is noted."""
    put(mounted, "x", b"older")
    mounted.fs.note_versions(notes)
    mounted.kernel.stat("x")
    put(mounted, "x", b"newer bytes")

    assert mounted.kernel.read("x") == b"newer bytes"

    assert _noted(notes) == [_fact(mounted, "x")]


def test_a_further_section_has_what_is_opened_after_it(mounted: Mounted, notes: Path) -> None:
    """What was noted before is noted again for whoever comes later, and for him alone."""
    for key in ("a", "b"):
        put(mounted, key, b"x")
    first = mounted.fs.note_versions(notes)
    with mounted.kernel.open("a"):
        mounted.kernel.read("b")
        second = mounted.fs.note_versions(notes)
        mounted.kernel.read("a")

    assert [_since(notes, section) for section in (first, second)] == [["a", "a", "b"], ["a"]]
    drop_pages(notes, second)
    assert [name for name, _, _ in _noted(notes)] == ["a"]


def test_stopping_leaves_small_files(mounted: Mounted, notes: Path) -> None:
    """After the end of a mount its notes are compressed, and as they were."""
    put(mounted, "a", b"x")
    mounted.fs.note_versions(notes)
    mounted.kernel.read("a")
    before = _noted(notes)

    mounted.fs.stop()

    assert _noted(notes) == before != []
    assert sum(one.stat().st_size for one in notes.iterdir()) < 200


def test_a_hundred_thousand_names_take_little(notes: Path) -> None:
    """Of 100,000 names in two turns, 2.5 MB are in memory, 2.5 MB on the disk, and each is there once."""
    numbers = random.Random(7)
    opened = [
        (
            f"train/class{one % 100:03}/image_{one:07}.jpg",
            f"0x8DC{numbers.getrandbits(48):012X}",
            one,
        )
        for one in range(NAMES)
    ]
    kept = VersionsOpened.begin(notes, "train", lambda act: act())
    for _ in range(2):
        for facts in opened:
            kept.note(Content(*facts))
    memory = kept.size_bytes
    kept.close()

    assert _noted(notes) == sorted([key[6:], size, version] for key, version, size in opened)
    assert memory <= 2_500_000
    assert sum(one.stat().st_size for one in notes.iterdir()) <= 2_500_000


def test_numbers_are_known_once_they_were_added() -> None:
    """Any numbers are new the first time and known the second, also 0 and negative ones."""
    drawn = random.Random(3)
    numbers = {drawn.getrandbits(64) - (1 << 63) for _ in range(5_000)} | {0, -1}
    # These end alike, so they meet in one table until it is divided far down.
    numbers |= {one << 12 | 0xFFF for one in range(900)}
    seen = Seen()

    assert [seen.adds(one) for one in numbers] == [True] * len(numbers)
    assert [seen.adds(one) for one in numbers] == [False] * len(numbers)


def test_numbers_that_are_not_spread_are_forgotten_at_most() -> None:
    """Numbers that differ nowhere near their end neither fill the memory nor hang anybody."""
    seen = Seen()
    before = [seen.adds(one << 50 | 0xFFFF) for one in range(5_000)]

    assert before == [True] * 5_000
    assert seen.size_bytes < 20_000_000


def test_a_killed_writer_leaves_every_line(notes: Path) -> None:
    """After kill -9 in the middle of the writing, all lines up to some one are there, and whole."""
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(notes)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    ) as writer:
        assert writer.stdout is not None
        said = [int(writer.stdout.readline()) for _ in range(4)][-1]
        writer.send_signal(signal.SIGKILL)
        writer.wait(60)

    noted = _noted(notes)
    assert len(noted) > said
    assert sorted(noted, key=lambda one: one[1]) == [
        [f"file-{number}", number, "etag"] for number in range(len(noted))
    ]


def test_later_processes_write_behind_earlier_ones(notes: Path) -> None:
    """A second life goes on behind the first one's notes, of which it changes none."""
    lives = [VersionsOpened.begin(notes, "", lambda act: act()) for _ in range(2)]
    lives[0].note(Content("a", "1", 1))
    lives[1].note(Content("a", "1", 1))

    assert [life.section for life in lives] == [1, 2]
    assert [_since(notes, section) for section in (1, 2)] == [["a", "a"], ["a"]]


def test_pages_are_read_one_by_one(notes: Path) -> None:
    """Whoever asks page by page gets every line once, compressed pages and the open one."""
    held: list[Any] = []
    kept = VersionsOpened.begin(notes, "", held.append)
    for number in range(10_000):
        kept.note(Content(f"file-{number:060}", None, number))
    for act in held[:-1]:
        act()

    pages, after = [], ""
    while (page := page_after(notes, kept.section, after)) is not None:
        after, text = page
        pages.append(text)

    assert len(pages) == len(held) + 1 > 3
    assert b"".join(pages) == b"".join(lines(notes))
    assert b"".join(pages).count(b"\n") == 10_000
    assert {one.suffix for one in notes.iterdir()} == {".page", ".gz"}


def test_a_full_disk_is_no_complete_list(notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When no further page can be made, files are opened all the same, and the notes have a gap."""
    kept = VersionsOpened.begin(notes, "", lambda act: act())

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    for number in range(2 * PAGE_BYTES // 60):
        kept.note(Content(f"file-{number:060}", None, number))

    with pytest.raises(Gap):
        list(lines(notes))
    assert last_page(notes) == (1, 1)


def test_a_page_without_room_is_not_there(notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that the disk has no room for is refused before anything is written to it."""
    notes.mkdir()

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(OSError, match="No space"):
        Page.make(notes, 1, 1)

    assert list(notes.iterdir()) == []


def test_nothing_noted_is_not_an_empty_list(notes: Path) -> None:
    """A folder without a page tells nothing, where a page without a line tells that nothing was opened."""
    notes.mkdir()
    with pytest.raises(Gap):
        list(lines(notes))

    VersionsOpened.begin(notes, "", lambda act: act())

    assert list(lines(notes)) == []


def _since(notes: Path, section: int) -> list[str]:
    found, after = [], ""
    while (page := page_after(notes, section, after)) is not None:
        after, text = page
        found += [json.loads(line)[0] for line in text.splitlines()]
    return sorted(found)
