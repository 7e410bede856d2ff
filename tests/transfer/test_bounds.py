"""Memory, disk, interrupts and company: what a transfer does when things get tight."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from datastores.errors import DatastoresError, TransferFailed
from datastores.storage.memory import MemoryStore
from datastores.transfer import Limits, Options, Silent, disk, download
from datastores.transfer.crew import AHEAD
from datastores.transfer.disk import GENTLE_BYTES, allocate
from datastores.transfer.ranges import SMALLEST
from tests.transfer.folder import files_in, hidden_in
from tests.transfer.synthetic import SyntheticStore, SyntheticStream, content

if TYPE_CHECKING:
    from typing_extensions import Buffer

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
MOST_MIB = 256


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 40 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


@pytest.fixture
def ram_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system that makes files quickly; its content is nobody's resident memory."""
    disk = tmp_path / "ram"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


class TestMemory:
    def measure(self, count: int, size: int, target: Path) -> dict[str, int]:
        command = [sys.executable, "-m", "tests.transfer.measured", str(count), str(size)]
        done = subprocess.run(
            [*command, str(target)], env=ENVIRONMENT, capture_output=True, text=True, check=True
        )
        measured: dict[str, int] = json.loads(done.stdout)
        return measured

    @pytest.mark.timeout(180)
    def test_many_files_need_little_memory(self, ram_disk: Path) -> None:
        """200,000 files are downloaded, and then found unchanged, within 256 MiB."""
        first = self.measure(200_000, 1, ram_disk)
        second = self.measure(200_000, 1, ram_disk)

        assert (first["moved"], second["moved"]) == (200_000, 0)
        assert max(first["peak"], second["peak"]) <= MOST_MIB

    @pytest.mark.timeout(180)
    def test_a_huge_file_needs_little_memory(self, ram_disk: Path) -> None:
        """A file of 6 GiB, written as holes, passes through within 256 MiB."""
        measured = self.measure(1, 6 << 30, ram_disk)

        assert measured["moved"] == 1
        assert measured["peak"] <= MOST_MIB
        assert (ram_disk / "0000000").stat().st_size == 6 << 30

    def test_copying_starts_before_the_listing_ends(self, tmp_path: Path) -> None:
        """Files arrive while later pages have not been asked for."""
        store = SyntheticStore(count=25 * AHEAD, size=1, page_size=AHEAD)
        pages_at_first_byte: list[int] = []

        class First(Silent):
            def moved(self, name: str, size: int) -> None:
                pages_at_first_byte.append(store.pages)

        download(store, "n", tmp_path, watcher=First())

        assert pages_at_first_byte[0] < 8
        assert store.pages == 25


class TestFullDisk:
    def test_memory_is_not_filled_before_the_content_comes(self, ram_disk: Path) -> None:
        """A file on tmpfs gets its length at once and its pages one by one, as they arrive."""
        fd = os.open(ram_disk / "part", os.O_RDWR | os.O_CREAT)
        try:
            allocate(fd, 64 << 20, sparse=False)
            status = os.fstat(fd)
        finally:
            os.close(fd)
        assert (status.st_size, status.st_blocks) == (64 << 20, 0)

    @pytest.mark.parametrize("in_memory", [False, True])
    def test_a_disk_is_written_to_gently(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, in_memory: bool
    ) -> None:
        """A large file goes to a disk in small writes, and to tmpfs as its pieces come."""
        monkeypatch.setattr(disk, "_is_in_memory", lambda _fd: in_memory)
        written: list[int] = []
        write = os.pwrite

        def note(fd: int, data: Buffer, at: int) -> int:
            written.append(memoryview(data).nbytes)
            return write(fd, data, at)

        monkeypatch.setattr(os, "pwrite", note)
        download(SyntheticStore(1, 3 * SMALLEST), "", tmp_path)

        assert (max(written) > GENTLE_BYTES) == in_memory

    def test_a_full_disk_is_a_clean_error_and_resumable(self, small_disk: Path) -> None:
        """Somebody else fills the disk midway: a clear error now, and after cleaning up the rest."""
        store = MemoryStore()
        for index in range(300):
            store.write(f"s{index:03d}", content(index, 100_000))
        filler = small_disk / "filler"

        class Fill(Silent):
            def finished(self, name: str) -> None:
                if not filler.exists():
                    with filler.open("wb") as file:
                        os.posix_fallocate(file.fileno(), 0, 36 << 20)

        with pytest.raises(TransferFailed, match="no space left on device"):
            download(store, "", small_disk / "t", watcher=Fill(), options=ONE_AT_A_TIME)
        partly = files_in(small_disk / "t")
        filler.unlink()
        summary = download(store, "", small_disk / "t")

        assert 0 < len(partly) < 300
        assert (summary.moved, summary.skipped) == (300 - len(partly), len(partly))
        assert len(files_in(small_disk / "t")) == 300

    def test_a_large_file_that_does_not_fit_leaves_the_disk_as_it_was(
        self, small_disk: Path
    ) -> None:
        """A file larger than what is free is refused with nothing kept of it."""
        store = SyntheticStore(count=1, size=50 << 20)

        with pytest.raises(DatastoresError, match=r"are free|no space left"):
            download(store, "n", small_disk / "t")

        assert (files_in(small_disk / "t"), store.bytes_read) == ({}, 0)
        assert os.statvfs(small_disk).f_bfree * 4096 > 39 << 20


class TestCompany:
    def test_two_processes_share_one_folder(self, tmp_path: Path) -> None:
        """Two processes that download the same into one folder both succeed; nothing is torn."""
        source = tmp_path / "source"
        source.mkdir()
        wanted = {f"s{n}": content(n, 5000 + n) for n in range(200)}
        wanted["big"] = content(3, 3 * SMALLEST + 5)
        for name, body in wanted.items():
            (source / name).write_bytes(body)
        command = [sys.executable, "-m", "tests.transfer.copier", "download"]
        both = [
            subprocess.Popen(
                [*command, str(source), str(tmp_path / "t")],
                env=ENVIRONMENT,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            for _ in range(2)
        ]

        troubles = [process.communicate(timeout=60)[1] for process in both]

        assert [
            (process.returncode, trouble) for process, trouble in zip(both, troubles, strict=True)
        ] == [(0, b"")] * 2
        assert (files_in(tmp_path / "t"), hidden_in(tmp_path / "t")) == (wanted, [])

    def test_transfers_of_one_process_share_a_host(self, tmp_path: Path) -> None:
        """Two downloads at once never have more requests under way than the host may get."""
        store = CountingStore(count=120, size=1 << 18)
        options = Options(limits=Limits(per_host=3))
        errors: list[BaseException] = []

        def run(name: str) -> None:
            try:
                download(store, "n", tmp_path / name, options=options)
            except Exception as error:  # noqa: BLE001  # told to the main thread
                errors.append(error)

        threads = [threading.Thread(target=run, args=(name,)) for name in ("a", "b")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

        assert errors == []
        assert 1 < store.busiest <= 3


class TestInterrupts:
    def test_an_interrupt_ends_soon_and_can_be_continued(self, tmp_path: Path) -> None:
        """Ctrl-C in a large file stops within seconds, and the next run keeps what had arrived."""
        store = SyntheticStore(count=1, size=20 * SMALLEST, seconds_per_piece=0.002)
        main = threading.main_thread().ident or 0
        four = Options(limits=Limits(streams=4))

        class Interrupt(Silent):
            moved_bytes = 0

            def moved(self, name: str, size: int) -> None:
                self.moved_bytes += size
                if size <= self.moved_bytes - 6 * SMALLEST < 2 * size:
                    signal.pthread_kill(main, signal.SIGINT)

        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            download(store, "n", tmp_path, watcher=Interrupt(), strip="n", options=four)
        stopped = time.monotonic()
        threads = [t.name for t in threading.enumerate() if t.name == "datastores-transfer"]
        summary = download(store, "n", tmp_path, strip="n")

        assert stopped - began < 20
        assert threads == []
        assert summary.resumed_bytes >= SMALLEST
        assert files_in(tmp_path) == {"0000000": content(0, 20 * SMALLEST)}


class CountingStore(SyntheticStore):
    """Remembers how many reads were under way at once."""

    def __init__(self, count: int, size: int) -> None:
        super().__init__(count, size, seconds_per_piece=0.002)
        self.busy = self.busiest = 0
        self.counting = threading.Lock()

    def read(
        self, key: str, *, start: int = 0, length: int | None = None, version: str | None = None
    ) -> SyntheticStream:
        with self.counting:
            self.busy += 1
            self.busiest = max(self.busiest, self.busy)
        return CountedStream(self, self.info(int(key[2:])), start, self.size)


class CountedStream(SyntheticStream):
    """Counts itself out when it is closed."""

    def close(self) -> None:
        store = self.store
        assert isinstance(store, CountingStore)
        with store.counting:
            store.busy -= 1


ONE_AT_A_TIME = Options(limits=Limits(streams=1))
