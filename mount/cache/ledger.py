"""The numbers all processes share: bytes taken, and what the cache did for its node."""

from __future__ import annotations

import errno
import os
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from datastores.value import Value
from mount.cache import lease

# used, ever taken, hits, misses, evictions; then their checksum
_NUMBERS = struct.Struct("<qQQQQ")
_CHECK = struct.Struct("<I")
_SIZE = _NUMBERS.size + _CHECK.size
# Nobody holds it for more than two system calls, unless it was stopped between them.
_WAIT_SECONDS = 0.5


class Numbers(Value):
    """`used` is never less than the truth: it is taken before a file and given back after it."""

    used: int = 0
    ever_taken: int = 0
    hits: int = 0
    misses: int = 0
    evictions: int = 0


class LedgerTorn(OSError):
    """The ledger holds no numbers that can be believed: count the files."""


class Ledger:
    """A file of 44 bytes that is read, changed and written under a lock: 5 us.

    Kept by pread and pwrite, not mapped: a mapped page on a full disk kills the process.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._turn = threading.Lock()
        # Under the turn. A lock belongs to the open file, which a forked child would share.
        self._fd = -1
        self._pid = 0

    def close(self) -> None:
        """Let go of the file; the next use opens it again."""
        with self._turn:
            fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def read(self) -> Numbers:
        """The numbers as they are."""
        with self._locked():
            return self._read()

    def take(self, charge: int, quota: int) -> bool:
        """Count bytes that will be written; False when they would not fit."""
        with self._locked():
            numbers = self._read()
            if numbers.used + charge > quota:
                return False
            self._write(
                Numbers(
                    numbers.used + charge,
                    numbers.ever_taken + charge,
                    numbers.hits,
                    numbers.misses,
                    numbers.evictions,
                )
            )
            return True

    def add(self, *, used: int = 0, hits: int = 0, misses: int = 0, evictions: int = 0) -> None:
        """Count what happened; `used` is negative for bytes that are gone from the disk."""
        with self._locked():
            numbers = self._read()
            self._write(
                replace(
                    numbers,
                    used=max(0, numbers.used + used),
                    hits=numbers.hits + hits,
                    misses=numbers.misses + misses,
                    evictions=numbers.evictions + evictions,
                )
            )

    def correct(self, counted: int, ever_taken_before: int) -> Numbers:
        """Replace `used` by a census and what was taken since it began; starts a torn ledger."""
        with self._locked():
            try:
                numbers = self._read()
            except LedgerTorn:
                numbers = Numbers(ever_taken=ever_taken_before)
            since = max(0, numbers.ever_taken - ever_taken_before)
            numbers = replace(numbers, used=counted + since)
            self._write(numbers)
            return numbers

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._turn:
            if self._fd < 0 or self._pid != os.getpid():
                self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                self._pid = os.getpid()
            if not lease.own(self._fd, _WAIT_SECONDS):
                raise TimeoutError(
                    errno.ETIMEDOUT, "the ledger is held by a process that does not move"
                )
            try:
                yield
            finally:
                lease.let_go(self._fd)

    def _read(self) -> Numbers:
        return _parse(os.pread(self._fd, _SIZE, 0))

    def _write(self, numbers: Numbers) -> None:
        body = _NUMBERS.pack(
            numbers.used, numbers.ever_taken, numbers.hits, numbers.misses, numbers.evictions
        )
        if os.pwrite(self._fd, body + _CHECK.pack(zlib.crc32(body)), 0) != _SIZE:
            raise OSError(errno.EIO, "the ledger was written in part")


def _parse(raw: bytes) -> Numbers:
    if len(raw) != _SIZE or _CHECK.unpack_from(raw, _NUMBERS.size)[0] != zlib.crc32(
        raw[: _NUMBERS.size]
    ):
        raise LedgerTorn(errno.EIO, "the ledger is torn")
    return Numbers(*_NUMBERS.unpack_from(raw))
