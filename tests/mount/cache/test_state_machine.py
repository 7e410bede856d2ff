"""Any sequence of deeds by several handles, with crashes and power cuts, against a model."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mount.cache.census import take_census
from mount.cache.contract import CachedFile, CacheKey, NoRoom, PartialFile
from mount.cache.layout import SMALLEST_BLOCK_BYTES, charge, overhead
from mount.cache.node_cache import NodeCache
from mount.cache.room import Limits
from tests.mount.cache.content import content, key_for

BLOCK = SMALLEST_BLOCK_BYTES
KEYS = [
    key_for(number, size, version)
    for number, size in enumerate([0, 1, 5000, BLOCK, BLOCK + 1, 3 * BLOCK])
    for version in ("v1", "v2")
]
BODIES = {key: content(key) for key in KEYS}
QUOTA_BYTES = 5 * BLOCK
HANDLES = 3
AHEAD_BYTES = 20_000


class CacheMachine(RuleBasedStateMachine):
    """Handles stand for processes: they share nothing but the folder."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="cache-machine-"))
        self.now_ns = 10**18
        self.boots = 0
        # Everything that is open, by the handle that opened it.
        self.files: dict[int, list[tuple[CacheKey, CachedFile]]] = {}
        self.partials: dict[int, list[tuple[CacheKey, PartialFile]]] = {}
        # Files nobody forgot since they were handed out: these may not be evicted.
        self.promised: set[CacheKey] = set()
        self.caches = [self.open_cache(number) for number in range(HANDLES)]

    def open_cache(self, number: int) -> NodeCache:
        self.files[number], self.partials[number] = [], []
        return NodeCache.open(
            self.folder,
            quota_bytes=QUOTA_BYTES,
            reserve_bytes=0,
            clock=lambda: self.now_ns,
            # The last one takes nothing ahead, as where no file can be made without a name.
            limits=Limits(0, 0, refuse_seconds=0.0, ahead_bytes=AHEAD_BYTES * (number < 2)),
            boot=f"boot {self.boots}",
        )

    def take(self, handle: int, key: CacheKey, file: CachedFile) -> None:
        assert os.pread(file.fd, key.size + 1, 0) == BODIES[key]
        self.files[handle].append((key, file))
        self.promised.add(key)

    @rule(handle=st.integers(0, HANDLES - 1), key=st.sampled_from(KEYS))
    def find(self, handle: int, key: CacheKey) -> None:
        must_be_there = key in self.promised and any(
            key == other for files in self.files.values() for other, _ in files
        )
        file = self.caches[handle].find(key)
        assert file is not None or not must_be_there
        if file is not None:
            self.take(handle, key, file)

    @rule(handle=st.integers(0, HANDLES - 1), key=st.sampled_from(KEYS))
    def put(self, handle: int, key: CacheKey) -> None:
        in_use = self.bytes_in_use()
        try:
            file = self.caches[handle].put(key, BODIES[key])
        except NoRoom:
            # Refused only when what is in use leaves too little.
            assert in_use + charge(key.size) + 2 * AHEAD_BYTES > QUOTA_BYTES
        else:
            self.take(handle, key, file)

    @rule(handle=st.integers(0, HANDLES - 1), key=st.sampled_from(KEYS), given=st.booleans())
    def adopt(self, handle: int, key: CacheKey, given: bool) -> None:
        source = self.folder / "source"
        source.write_bytes(BODIES[key])
        try:
            self.take(handle, key, self.caches[handle].adopt(key, str(source), given=given))
        except NoRoom:
            assert self.bytes_in_use() + charge(key.size) + 2 * AHEAD_BYTES > QUOTA_BYTES
        source.unlink()

    @rule(handle=st.integers(0, HANDLES - 1), key=st.sampled_from(KEYS))
    def fill(self, handle: int, key: CacheKey) -> None:
        try:
            self.partials[handle].append((key, self.caches[handle].fill(key)))
        except NoRoom:
            assert self.bytes_in_use() + overhead(key.size) + 2 * AHEAD_BYTES > QUOTA_BYTES

    @rule(which=st.integers(0, 99), first=st.integers(0, 2), count=st.integers(1, 3))
    def write(self, which: int, first: int, count: int) -> None:
        if one := self.some_partial(which):
            _, key, partial = one
            partial.write(first * BLOCK, BODIES[key][first * BLOCK : (first + count) * BLOCK])

    @rule(which=st.integers(0, 99), start=st.integers(0, 3 * BLOCK), length=st.integers(0, BLOCK))
    def read(self, which: int, start: int, length: int) -> None:
        if one := self.some_partial(which):
            _, key, partial = one
            got = partial.read(start, length)
            want = BODIES[key][start : start + length]
            assert got is None or bytes(got) == want
            assert got is not None or partial.missing(start, length) != []

    @rule(which=st.integers(0, 99))
    def finish(self, which: int) -> None:
        if one := self.some_partial(which):
            handle, key, partial = one
            if file := partial.finish():
                self.take(handle, key, file)

    @rule(which=st.integers(0, 99))
    def close_partial(self, which: int) -> None:
        if one := self.some_partial(which):
            handle, key, partial = one
            partial.close()
            self.partials[handle].remove((key, partial))

    @rule(which=st.integers(0, 99))
    def close_file(self, which: int) -> None:
        files = [(handle, one) for handle in self.files for one in self.files[handle]]
        if files:
            handle, (key, file) = files[which % len(files)]
            assert os.pread(file.fd, key.size + 1, 0) == BODIES[key]
            file.close()
            self.files[handle].remove((key, file))

    @rule(handle=st.integers(0, HANDLES - 1), key=st.sampled_from(KEYS))
    def forget(self, handle: int, key: CacheKey) -> None:
        self.caches[handle].forget(key)
        self.promised.discard(key)
        assert self.caches[handle].find(key) is None

    @rule(handle=st.integers(0, HANDLES - 1))
    def verify(self, handle: int) -> None:
        assert self.caches[handle].verify().damaged == ()

    @rule(handle=st.integers(0, HANDLES - 1))
    def clear(self, handle: int) -> None:
        self.caches[handle].clear()

    @rule(seconds=st.integers(-7200, 7200))
    def time_passes(self, seconds: int) -> None:
        self.now_ns += seconds * 10**9

    @rule(handle=st.integers(0, HANDLES - 1))
    def crash(self, handle: int) -> None:
        """A killed process: its descriptors close, and nothing else happens."""
        # Closing a descriptor is all that `close` of a file does, and all that the kernel does.
        for _, file in self.files[handle]:
            file.close()
        for _, partial in self.partials[handle]:
            partial.close()
        room = self.caches[handle]._shelf.room
        room.ledger.close()
        if room._grant._fd >= 0:
            os.close(room._grant._fd)
        self.caches[handle] = self.open_cache(handle)

    @rule(seed=st.integers(0, 2**32 - 1), tears=st.integers(0, 4))
    def power_cut(self, seed: int, tears: int) -> None:
        """Every process is gone, any file may have lost its end or its bytes, and a boot begins."""
        self.boots += 1
        for handle in range(HANDLES):
            self.crash(handle)
        chance = random.Random(seed)
        files = sorted(path for path in (self.folder / "v1").rglob("*") if path.is_file())
        for path in chance.sample(files, min(tears, len(files))):
            tear(path, chance)
        self.promised.clear()
        self.caches[0].verify()

    @invariant()
    def quota_holds(self) -> None:
        layout = self.caches[0]._shelf.layout
        entries, _ = take_census(layout, self.now_ns)
        assert sum(entry.charge for entry in entries) <= QUOTA_BYTES

    def some_partial(self, which: int) -> tuple[int, CacheKey, PartialFile] | None:
        everything = [
            (handle, *one) for handle, partials in self.partials.items() for one in partials
        ]
        return everything[which % len(everything)] if everything else None

    def bytes_in_use(self) -> int:
        """An upper bound of what cannot be evicted now."""
        keys = {key for files in self.files.values() for key, _ in files}
        keys |= {key for partials in self.partials.values() for key, _ in partials}
        return sum(charge(key.size) for key in keys)

    def teardown(self) -> None:
        for handle in range(HANDLES):
            self.crash(handle)
            self.caches[handle].close()
        shutil.rmtree(self.folder)


def tear(path: Path, chance: random.Random) -> None:
    """What a power cut can leave of a file, with the times that its inode already had."""
    stat = path.stat()
    match chance.randrange(4):
        case 0:
            os.truncate(path, chance.randrange(stat.st_size + 1))
        case 1:
            path.unlink()
        case _:
            with path.open("r+b") as file:
                file.seek(chance.randrange(stat.st_size + 1))
                length = min(chance.randrange(1, 5000), stat.st_size - file.tell())
                file.write(bytes(max(0, length)))
    if path.exists():
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


# `CACHE_EXAMPLES=1000` for the long run.
CacheMachine.TestCase.settings = settings(
    max_examples=int(os.environ.get("CACHE_EXAMPLES", "40")),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestCacheMachine = CacheMachine.TestCase
