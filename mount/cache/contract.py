"""What mounts and downloads ask of the node's cache.

A cached file is an ordinary file that holds exactly one version of one object: whole files for the
kernel to read directly, and partial ones with a map of the blocks that are there. Everything may be
called from any thread, and by any number of processes on one folder. A full or broken disk makes
the cache answer "not here" and `NoRoom`; it never makes a read wrong and never fails it.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from datastores.value import Value

if TYPE_CHECKING:
    from typing_extensions import Buffer


class NoRoom(Exception):
    """Nothing more fits below the quota and the reserve; read without the cache."""


class CacheKey(Value):
    """One version of one object; `store` is the store's identity."""

    store: str
    key: str
    version: str
    size: int


class CachedFile(Protocol):
    """A complete file; it is neither changed nor evicted while it is held."""

    @property
    def fd(self) -> int:
        """A descriptor for reading, valid until `close`."""

    @property
    def path(self) -> str:
        """Where the file is while it is held."""

    def close(self) -> None:
        """Let go; calling it twice is fine."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class PartialFile(Protocol):
    """A file on its way, shared by everybody on the node who wants this version."""

    @property
    def block_bytes(self) -> int:
        """The unit of the map; the last block may be shorter."""

    def missing(self, start: int, length: int) -> Sequence[tuple[int, int]]:
        """Ranges (start, length) on block borders that are not there yet and cover the question."""

    def write(self, start: int, *pieces: Buffer) -> None:
        """Put bytes that begin on a block border; whole blocks count once they are on disk.

        Pieces follow each other; those of whole blocks are not copied. What finds no room stays
        missing.
        """

    def read(self, start: int, length: int) -> Buffer | None:
        """The bytes, if all their blocks are there and sound; None otherwise."""

    def note_written(self, start: int, length: int) -> None:
        """Whole blocks that another process has just written for this one need no check."""

    def finish(self) -> CachedFile | None:
        """The complete file, checked and under its final name, once no block is missing.

        None before that, or when the disk refuses it a name; `read` goes on working then.
        """

    def close(self) -> None:
        """Let go; the blocks stay for the next one who wants them."""


class CacheStatus(Value):
    """What the cache holds, in files and bytes."""

    folder: str
    quota_bytes: int
    reserve_bytes: int
    files: int
    bytes: int
    partial_files: int
    partial_bytes: int
    in_use_files: int
    hits: int
    misses: int
    evictions: int


class Cache(Protocol):
    """The files of a node."""

    @property
    def folder(self) -> str:
        """Everything that this cache holds open lies below it."""

    def again(self) -> Self:
        """The same cache for a child that was forked: no lock and no file of the parent's handle."""

    def find(self, key: CacheKey) -> CachedFile | None:
        """The complete file of this version, if it is here."""

    def arrived(self, key: CacheKey) -> CachedFile | None:
        """What another process was asked to bring; as `find`, but counts no hit and no miss."""

    def fill(self, key: CacheKey) -> PartialFile:
        """The file of this version on its way, begun now or by anybody before; or `NoRoom`."""

    def put(self, key: CacheKey, data: Buffer) -> CachedFile:
        """A whole small file that `find` did not find, in one step; or `NoRoom`."""

    def adopt(self, key: CacheKey, path: str, *, given: bool = False) -> CachedFile:
        """A finished local file (an upload, a download) as the cached one.

        A file that is given away is linked; any other is cloned or copied, since its owner may
        write to it again.
        """

    def forget(self, key: CacheKey) -> None:
        """Drop a file; whoever holds it keeps reading it."""

    def status(self) -> CacheStatus: ...

    def close(self) -> None: ...
