"""A store whose objects are computed when they are read: any number, any size, no memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from datastores.errors import NotFound, PreconditionFailed, Unsupported
from datastores.storage.contract import Features, ObjectInfo, Page

PIECE = 1 << 18
# 251 is prime, so no range boundary repeats the pattern.
_ZEROS = bytes(2 * PIECE)
_PATTERN = bytes(range(251)) * (PIECE // 251 + 2)


def content(start: int, length: int) -> bytes:
    """The bytes of every synthetic object from `start`."""
    return b"".join(
        _PATTERN[at % 251 : at % 251 + min(PIECE, start + length - at)]
        for at in range(start, start + length, PIECE)
    )


@dataclass(slots=True)
class SyntheticStore:
    """`count` objects `n/0000000` ... of one size; reads only, at a limited speed if asked."""

    count: int
    size: int
    page_size: int = 5000
    seconds_per_piece: float = 0.0
    # Zeros instead of a pattern, so that a sparse file holds any amount.
    zeros: bool = False
    version: str = "v1"
    label: str = "synthetic"
    identity: str = "synthetic"
    features: Features = field(default_factory=Features)
    staging: Any = None
    renaming: Any = None
    copying: Any = None
    folders: Any = None
    # Under the lock.
    reads: int = 0
    bytes_read: int = 0
    pages: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def info(self, index: int) -> ObjectInfo:
        return ObjectInfo(f"n/{index:07d}", self.size, 1_700_000_000 * 10**9, self.version)

    def stat(self, key: str) -> ObjectInfo:
        if key.startswith("n/") and key[2:].isdigit() and int(key[2:]) < self.count:
            return self.info(int(key[2:]))
        raise NotFound(self.label, key)

    def list(self, prefix: str = "") -> Iterator[Page]:
        for start in range(0, self.count, self.page_size):
            self.pages += 1
            stop = min(self.count, start + self.page_size)
            yield Page([self.info(index) for index in range(start, stop)])

    def read(
        self, key: str, *, start: int = 0, length: int | None = None, version: str | None = None
    ) -> SyntheticStream:
        info = self.stat(key)
        if version not in (None, self.version):
            raise PreconditionFailed(self.label, key, "read it again")
        end = info.size if length is None else min(info.size, start + length)
        with self.lock:
            self.reads += 1
        return SyntheticStream(self, info, start, end)

    def list_folder(self, place: str = "") -> Iterator[Page]:
        return self.list(place)

    def write(self, key: str, body: Any, **conditions: Any) -> ObjectInfo:
        raise Unsupported(self.label, key, "it is read-only")

    def delete(self, key: str) -> None:
        raise Unsupported(self.label, key, "it is read-only")

    def check(self, *, create: bool = False) -> None: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class SyntheticStream:
    """Computed bytes."""

    store: SyntheticStore
    info: ObjectInfo
    start: int
    end: int

    def __iter__(self) -> Iterator[memoryview]:
        pattern = memoryview(_ZEROS if self.store.zeros else _PATTERN)
        for at in range(self.start, self.end, PIECE):
            if self.store.seconds_per_piece:
                time.sleep(self.store.seconds_per_piece)  # a slow network, not a wait for an event
            size = min(PIECE, self.end - at)
            with self.store.lock:
                self.store.bytes_read += size
            yield pattern[at % 251 : at % 251 + size]

    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
