"""Files that are on their way while the one thread that reads the kernel's questions goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from mount import adapters
from mount.cache import NodeCache
from mount.fs.fetchers import LINES, WORTH_IT
from mount.fs.file_system import StoreFileSystem
from mount.fs.spool import Spool
from mount.fs.view import MountView
from mount.fuse.options import MountOptions
from tests.transfer.forked_store import ForkedStore, children

FILES = 300


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder of small files."""
    folder = tmp_path / "source"
    folder.mkdir()
    for number in range(FILES):
        (folder / f"{number:03}").write_bytes(str(number).encode() * 999)
    return folder


@contextmanager
def mounted(
    tmp_path: Path, source: Path, before: Callable[[str], None] = lambda _: None
) -> Iterator[tuple[Path, StoreFileSystem]]:
    """The folder, mounted by the kernel's own protocol with an empty cache."""
    place = tmp_path / "mount"
    place.mkdir()
    cache = NodeCache.open(tmp_path / "cache", quota_bytes=1 << 30, reserve_bytes=0)
    view = MountView(read_only=True, owner=os.getuid(), group=os.getgid())
    files = StoreFileSystem(
        ForkedStore(source, before), cache, view, Spool.open(tmp_path / "spool")
    )
    alone = children()
    made = adapters.mount(files, str(place), options=MountOptions(read_only=True))
    with made:  # type: ignore[attr-defined]  # the direct one is a context
        yield place, files
    cache.close()
    assert children() == alone


def read_all(place: Path) -> dict[str, bytes]:
    """Every file, by as many readers as there are lines to other processes."""
    with ThreadPoolExecutor(LINES) as readers:
        names = sorted(path.name for path in place.iterdir())
        return dict(
            zip(names, readers.map(lambda name: (place / name).read_bytes(), names), strict=True)
        )


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of the source."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_many_readers_are_served_by_other_processes(tmp_path: Path, source: Path) -> None:
    """Every byte is right, each object was asked for once, and most were asked for elsewhere."""
    asked = tmp_path / "asked"
    asked.mkdir()

    def note(key: str) -> None:
        with (asked / str(os.getpid())).open("a") as file:
            file.write(key + "\n")

    with mounted(tmp_path, source, note) as (place, files):
        assert read_all(place) == contents(source)
        counts = files.counters()
    lines = {path.name: path.read_text().split() for path in asked.iterdir()}
    assert sorted(key for keys in lines.values() for key in keys) == sorted(contents(source))
    assert len(lines.get(str(os.getpid()), [])) <= 2 * WORTH_IT
    # The listing is one, too.
    assert counts.requests <= FILES + 2
    assert counts.bytes_fetched == sum(map(len, contents(source).values()))


def test_processes_that_die_cost_no_reader_anything(tmp_path: Path, source: Path) -> None:
    """Readers whose file was with a process that was killed get it all the same."""
    ours = os.getpid()

    def die(key: str) -> None:
        if os.getpid() != ours and key.endswith("77"):
            os.kill(os.getpid(), signal.SIGKILL)

    with mounted(tmp_path, source, die) as (place, _):
        assert read_all(place) == contents(source)


def test_two_readers_of_one_file_ask_once(tmp_path: Path, source: Path) -> None:
    """A file that is on its way is waited for, not asked for again."""
    asked = tmp_path / "asked"
    asked.mkdir()

    def note(key: str) -> None:
        with (asked / key).open("a") as file:
            file.write("x")

    with mounted(tmp_path, source, note) as (place, _), ThreadPoolExecutor(LINES) as readers:
        names = [path.name for path in sorted(place.iterdir()) for _ in range(3)]
        for name, data in zip(
            names, readers.map(lambda one: (place / one).read_bytes(), names), strict=True
        ):
            assert data == (source / name).read_bytes()
    assert {path.read_text() for path in asked.iterdir()} == {"x"}


def test_a_refused_file_is_an_error_for_its_reader_alone(tmp_path: Path, source: Path) -> None:
    """What no process can bring fails in the open that wants it, and nowhere else."""
    (source / "500").write_bytes(b"x")

    def refuse(key: str) -> None:
        if key == "250":
            raise OSError(5, "no")

    with mounted(tmp_path, source, refuse) as (place, _):
        names = sorted(path.name for path in place.iterdir())

        def read(name: str) -> bytes | None:
            try:
                return (place / name).read_bytes()
            except OSError:
                return None

        with ThreadPoolExecutor(LINES) as readers:
            found = dict(zip(names, readers.map(read, names), strict=True))
    assert found == {**contents(source), "250": None}


LARGE = 96 * 1024 * 1024


def large_file(source: Path) -> bytes:
    """One large object beside the small ones."""
    body = os.urandom(1 << 20) * (LARGE >> 20)
    (source / "large").write_bytes(body)
    return body


def read_in_order(path: Path) -> bytes:
    """All of a file, a MiB at a time."""
    with path.open("rb", buffering=0) as file:
        return b"".join(iter(lambda: file.read(1 << 20), b""))


def test_a_reader_in_order_is_served_by_other_processes(tmp_path: Path, source: Path) -> None:
    """Ranges of a large file are fetched elsewhere, each byte once, and the file is complete."""
    body = large_file(source)
    asked = tmp_path / "asked"
    asked.mkdir()
    with mounted(tmp_path, source, lambda _: (asked / str(os.getpid())).touch()) as (place, files):
        assert read_in_order(place / "large") == body
        counts = files.counters()
        assert read_in_order(place / "large") == body
        assert files.counters().bytes_fetched == counts.bytes_fetched
    assert counts.bytes_fetched == LARGE
    assert len({path.name for path in asked.iterdir()} - {str(os.getpid())}) >= 2


def test_a_process_that_dies_in_a_range_costs_nothing(tmp_path: Path, source: Path) -> None:
    """What it had not brought is fetched by the mount, and every byte is right."""
    body = large_file(source)
    ours, once = os.getpid(), tmp_path / "once"

    def die(_key: str) -> None:
        if os.getpid() != ours and not once.exists():
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    with mounted(tmp_path, source, die) as (place, _):
        assert read_in_order(place / "large") == body
    assert once.exists()


def test_a_range_that_cannot_be_fetched_elsewhere_is_fetched_here(
    tmp_path: Path, source: Path
) -> None:
    """Processes that fail at everything are only slower."""
    body = large_file(source)
    ours = os.getpid()

    def refuse(_key: str) -> None:
        if os.getpid() != ours:
            raise OSError(5, "no")

    with mounted(tmp_path, source, refuse) as (place, _):
        assert read_in_order(place / "large") == body
