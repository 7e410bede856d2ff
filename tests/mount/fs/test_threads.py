"""Many callers at once."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

from datastores.storage.memory import MemoryStore
from tests.mount.fs.conftest import Mounted, MountIt, put, stored
from tests.mount.fs.kernel import BOTH, KernelInMiniature

ROUNDS = 40
WORKERS = 8


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
