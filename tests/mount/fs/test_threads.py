"""Many callers at once."""

from __future__ import annotations

import random
from concurrent.futures import Future, ThreadPoolExecutor, wait

import pytest
from typing_extensions import override

from datastores.storage.memory import MemoryStore
from mount.cache.contract import CacheKey
from mount.fs.contents import Content
from mount.fs.draft import Draft
from tests.contracts.faulty_store import Fault
from tests.mount.fs.conftest import Mounted, MountIt, put, stored
from tests.mount.fs.kernel import BOTH, READ, KernelInMiniature

ROUNDS = 40
WORKERS = 8
# So long somebody else gets to come in between.
GAP_SECONDS = 0.3


def test_threads_in_one_folder_do_not_disturb_each_other(mount_it: MountIt) -> None:
    """Each of eight threads finds its own files as it left them, whatever the others do."""
    mounted = mount_it(block_bytes=4096, small_file_bytes=8192, spool_bytes=16_384)
    kernels = [KernelInMiniature(mounted.fs) for _ in range(WORKERS)]

    def work(number: int) -> dict[str, bytes]:
        kernel, rng = kernels[number], random.Random(number)
        mine: dict[str, bytes] = {}
        for step in range(ROUNDS):
            name = f"{number}-{rng.randrange(5)}"
            body = rng.randbytes(rng.choice([0, 10, 5000, 30_000]))
            kernel.write(f"{name}.tmp", body)
            kernel.rename(f"{name}.tmp", name)
            mine[name] = body
            other = rng.choice(list(mine))
            assert kernel.read(other) == mine[other]
            if step % 7 == 0:
                kernel.unlink(other)
                del mine[other]
            if step % 5 == 0:
                kernel.list()
        return mine

    with ThreadPoolExecutor(WORKERS) as pool:
        results = list(pool.map(work, range(WORKERS)))
    for kernel in kernels:
        kernel.forget_all()

    want = {name: body for mine in results for name, body in mine.items()}
    assert set(mounted.kernel.list()) == set(want)
    assert {name: stored(mounted, name) for name in want} == want


def test_writers_of_one_file_lose_no_write(mounted: Mounted) -> None:
    """Threads that write and sync disjoint ranges of one file all find their bytes stored."""
    with mounted.kernel.open("x", BOTH, create=True) as first:
        first.write(bytes(WORKERS * 1000))
    kernels = [KernelInMiniature(mounted.fs) for _ in range(WORKERS)]

    def work(number: int) -> None:
        for step in range(10):
            with kernels[number].open("x", BOTH) as file:
                file.write(bytes([number + 1]) * 100, number * 1000 + step * 100)
                file.fsync()

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(work, range(WORKERS)))
    for kernel in kernels:
        kernel.forget_all()

    assert stored(mounted, "x") == b"".join(bytes([n + 1]) * 1000 for n in range(WORKERS))


@pytest.mark.parametrize("access", [READ, BOTH])
def test_a_fetch_that_a_writer_overtook_is_not_believed(mounted: Mounted, access: object) -> None:
    """Whoever opens a file, and gets its bytes after a writer here replaced them, hides nothing.

    The next reader sees what was written, and the late opener's own write is stored over it.
    """
    put(mounted, "x", b"older")
    mounted.kernel.look("x")
    writer = KernelInMiniature(mounted.fs)
    mounted.store.plan("read", Fault(after=lambda: writer.write("x", b"newer")))

    with mounted.kernel.open("x", access) as late:  # type: ignore[arg-type]  # one of the two
        assert (mounted.store.count("read"), writer.read("x")) == (1, b"newer")
        if access is BOTH:
            late.write(b"N")
    assert writer.read("x") == stored(mounted, "x") == (b"Newer" if access is BOTH else b"newer")
    writer.forget_all()


def test_what_is_kept_of_a_version_is_that_version(mounted: Mounted) -> None:
    """A writer that closes while another's upload of the file ends keeps nothing under a wrong name.

    The cache would give the new bytes to whoever asks for the old version.
    """
    old = mounted.store.inner.write("x", [b"older"])
    late = KernelInMiniature(mounted.fs)
    with ThreadPoolExecutor(1) as pool:
        others: list[Future[None]] = []

        class Told(Draft):
            @override
            def stored(self, generation: int, base: Content) -> None:
                super().stored(generation, base)
                others.append(pool.submit(lambda: late.open("x", BOTH).close()))
                wait(others, GAP_SECONDS)

        mounted.fs._drafts.make = lambda _node, file, base, exclusive: Told(
            file, base, exclusive=exclusive
        )
        file = mounted.kernel.open("x", BOTH, truncate=True)
        file.write(b"newer")
        # As after the last page of a mapping: nobody has flushed.
        mounted.fs.release(file.opened.handle)
        for other in others:
            other.result(30)

    assert len(others) == 1
    key = CacheKey(mounted.store.identity, "x", old.version or "", old.size)
    assert (late.read("x"), mounted.fs._contents._cache.find(key)) == (b"newer", None)
    late.forget_all()


def test_readers_of_one_large_file_fetch_it_once(mount_it: MountIt) -> None:
    """Eight threads that read one large file together fetch each byte once."""
    mounted = mount_it(MemoryStore(), small_file_bytes=1024)
    body = random.Random(1).randbytes(6 << 20)
    put(mounted, "x", body)
    mounted.kernel.list()
    kernels = [KernelInMiniature(mounted.fs) for _ in range(WORKERS)]

    with ThreadPoolExecutor(WORKERS) as pool:
        bodies = list(pool.map(lambda kernel: kernel.read("x"), kernels))
    for kernel in kernels:
        kernel.forget_all()

    assert bodies == [body] * WORKERS
    assert mounted.fs.counters().bytes_fetched == len(body)
