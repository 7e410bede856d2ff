"""A process that uses a cache hard and compares every byte; killed at any time by its test."""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

from mount.cache.contract import CachedFile, CacheKey, NoRoom
from mount.cache.layout import SMALLEST_BLOCK_BYTES
from mount.cache.node_cache import NodeCache
from mount.cache.room import Limits
from tests.mount.cache.content import content, key_for, whole

BLOCK = SMALLEST_BLOCK_BYTES
SIZES = [0, 3000, 100 * 1024, BLOCK, 3 * BLOCK + 5, 6 * BLOCK]
KEYS = [key_for(number, SIZES[number % len(SIZES)]) for number in range(60)]
MOST_HELD = 4
# Two files of 100 KiB, so that it is used up and taken again all the time.
AHEAD_BYTES = 256 * 1024


def main(folder: str, quota_bytes: str, seed: str, seconds: str) -> None:
    chance = random.Random(int(seed))
    bodies = {key: content(key) for key in KEYS}
    cache = NodeCache.open(
        Path(folder),
        quota_bytes=int(quota_bytes),
        reserve_bytes=0,
        limits=Limits(0, 0, refuse_seconds=0.05, ahead_bytes=AHEAD_BYTES),
    )
    source = Path(f"{folder}.{os.getpid()}")
    held: list[tuple[CacheKey, CachedFile]] = []
    deeds = 0
    _tell("ready")
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        key = chance.choice(KEYS)
        got = _one_deed(cache, chance, key, bodies[key], source)
        if got is not None:
            _compare(key, os.pread(got.fd, key.size + 1, 0), bodies[key])
            held.append((key, got))
        if len(held) > MOST_HELD or (held and chance.random() < 0.3):
            old, file = held.pop(chance.randrange(len(held)))
            if not os.fstat(file.fd).st_nlink:
                sys.exit(f"{old} was evicted while it was held")
            _compare(old, whole(file), bodies[old])
        deeds += 1
    for old, file in held:
        _compare(old, whole(file), bodies[old])
    cache.close()
    source.unlink(missing_ok=True)
    if cache.troubles:
        sys.exit(f"troubles: {cache.troubles}")
    _tell(f"deeds {deeds}")


def _one_deed(
    cache: NodeCache, chance: random.Random, key: CacheKey, body: bytes, source: Path
) -> CachedFile | None:
    try:
        match chance.randrange(6):
            case 0 | 1:
                return cache.find(key)
            case 2:
                return cache.put(key, body)
            case 3:
                source.write_bytes(body)
                return cache.adopt(key, str(source), given=chance.random() < 0.5)
            case _:
                return _fill(cache, chance, key, body)
    except NoRoom:
        return None
    finally:
        # A given file must not be written to again.
        source.unlink(missing_ok=True)


def _fill(cache: NodeCache, chance: random.Random, key: CacheKey, body: bytes) -> CachedFile | None:
    filling = cache.fill(key)
    try:
        for start, length in filling.missing(0, key.size):
            if chance.random() < 0.7:
                filling.write(start, body[start : start + length])
        start = chance.randrange(key.size + 1)
        got = filling.read(start, 5000)
        if got is not None:
            _compare(key, bytes(got), body[start : start + 5000])
        return filling.finish()
    finally:
        filling.close()


def _compare(key: CacheKey, got: bytes, want: bytes) -> None:
    if got != want:
        sys.exit(f"wrong bytes in {key}: {len(got)} of {len(want)}")


def _tell(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
