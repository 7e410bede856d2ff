"""What every store of files promises. Read this before anything else in this package.

A store holds objects: a key, some bytes, a version. It is not a file system: there is no seek,
no rename that is free, no lock, and a folder is only the common beginning of some keys. Code that
needs folders, handles or partial writes builds them above (the mount does); code that moves bytes
needs no more than this, and a new store is a small file.

Promises, checked for every store by `tests/contracts/store_contract.py`:

- Methods may be called from any thread.
- A write is atomic: readers see the old object or the new one, never a mixture or a part.
- A read delivers exactly the bytes of one version, or raises; it never ends early in silence.
- Deleting what is not there is no error, so that a retried delete is none.
- Every call ends: each wait for the network is bounded by `Patience`.
- Failures are `datastores.errors`, with the store's label and the key as attributes.

Powers that some stores lack (`staging`, `renaming`, `copying`, `folders`) are attributes that are
None where the power is absent; callers read the attribute and never ask "is this Azure?".
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TypeAlias

from datastores.value import Value, field

if TYPE_CHECKING:
    from typing_extensions import Buffer

    # What travels: one piece of bytes, or pieces in order. An iterator is consumed once, so a
    # write from one is not retried; bytes, lists and whatever begins anew with each `iter` are.
    Body: TypeAlias = Buffer | Iterable[Buffer]


class Presence(enum.Enum):
    """A condition on a write that is not a version."""

    ABSENT = "absent"


ABSENT = Presence.ABSENT


class ObjectInfo(Value):
    """One object as a listing or a `stat` shows it.

    `version` is an ETag or what stands for it: equal versions mean equal bytes. None where a
    listing does not carry it. `md5` is what the writer declared for the whole object, if anything.
    """

    key: str
    size: int
    modified_ns: int | None = None
    version: str | None = None
    md5: bytes | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


class Page(Value):
    """A part of a listing, as large as the store likes to hand out."""

    objects: Sequence[ObjectInfo] = ()
    folders: Sequence[str] = ()


class Features(Value):
    """Facts about a store that generic code decides by."""

    # `a` cannot stand beside `a/b`, and empty folders exist.
    real_folders: bool = False
    # `only_if` is judged by the service itself; otherwise there is a moment between look and write.
    atomic_conditions: bool = True
    # Metadata given to a write comes back from `stat`.
    keeps_metadata: bool = True
    # It works in a child of a process that uses it, whatever the parent's threads did at the fork.
    survives_fork: bool = False
    longest_key: int = 1024


class Patience(Value):
    """How long to wait for a store, and how often to ask again."""

    connect_seconds: float = 10.0
    # Silence on an open connection, not the length of a transfer.
    read_seconds: float = 60.0
    attempts: int = 5
    # One operation with all its attempts and pauses.
    total_seconds: float = 300.0


class ObjectStream(Protocol):
    """The bytes of one version, piece by piece. Close it, or leave the `with` block."""

    @property
    def info(self) -> ObjectInfo:
        """The object these bytes belong to; `size` is that of the whole object."""

    def __iter__(self) -> Iterator[Buffer]:
        """Pieces of any size, in order; together exactly the range that was asked for."""

    def close(self) -> None:
        """Let go of the connection; calling it twice is fine."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Store(Protocol):
    """A place that keeps objects under keys."""

    @property
    def label(self) -> str:
        """What people call it; used in messages."""

    @property
    def identity(self) -> str:
        """The place itself, the same for every process and credential that reaches it.

        Caches key by it, so two stores with one identity must serve the same bytes.
        """

    @property
    def features(self) -> Features: ...

    @property
    def staging(self) -> Staging | None: ...

    @property
    def renaming(self) -> Renaming | None: ...

    @property
    def copying(self) -> Copying | None: ...

    @property
    def folders(self) -> Folders | None: ...

    def stat(self, key: str) -> ObjectInfo:
        """The object under exactly this key. `NotFound` for folders and for nothing."""

    def read(
        self, key: str, *, start: int = 0, length: int | None = None, version: str | None = None
    ) -> ObjectStream:
        """The bytes from `start`, `length` of them or up to the end; past the end there are none.

        With `version`, `PreconditionFailed` when the object is another one by now.
        """

    def write(
        self,
        key: str,
        body: Body,
        *,
        only_if: str | Presence | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        """Put the object in place, whatever was there, as one step.

        `only_if` names the version it replaces, or `ABSENT`; `PreconditionFailed` (also when there
        is no object) or `AlreadyExists` otherwise. A body that raises leaves the old object
        untouched, and its own exception comes out. A key longer than `longest_key` is refused.
        """

    def delete(self, key: str) -> None:
        """Remove the object; afterwards it is not there. A folder of that name stays."""

    def list(self, prefix: str = "") -> Iterator[Page]:
        """Every object whose key starts with this text, `folders` empty; pages arrive lazily.

        A listing that raised is over, unless it has a true attribute `resumable`: its `next` may
        then be called again after a temporary error, and asks for the same page.
        """

    def list_folder(self, place: str = "") -> Iterator[Page]:
        """What lies directly below a place: objects, and folders as keys without a last slash.

        A marker object `place/` is not shown as a child; a folder marker inside shows as a folder.
        A file, or nothing, has no page with anything in it.
        """

    def check(self, *, create: bool = False) -> None:
        """Reach the store once and make sure it can be listed; with `create`, make it if missing."""

    def close(self) -> None:
        """Let go of connections; the store is not used afterwards."""


class Block(Value):
    """A piece of an object that was sent and not yet committed."""

    id: str
    size: int


class Staging(Protocol):
    """Objects written piece by piece, each piece durable on its own: resumable uploads."""

    @property
    def largest_block(self) -> int: ...

    @property
    def most_blocks(self) -> int: ...

    def stage(self, key: str, block_id: str, body: Buffer) -> None:
        """Send one block; the same id again replaces it. Ids of one key have one length."""

    def staged(self, key: str) -> Sequence[Block]:
        """Blocks sent and not committed; none when the service has forgotten them."""

    def committed(self, key: str) -> Sequence[Block]:
        """Blocks the present object is made of, in order; none when it was written whole."""

    def commit(
        self,
        key: str,
        block_ids: Sequence[str],
        *,
        only_if: str | Presence | None = None,
        metadata: Mapping[str, str] | None = None,
        md5: bytes | None = None,
    ) -> ObjectInfo:
        """Make these blocks, staged or of the present object, the object, in this order."""


class Renaming(Protocol):
    """Stores where a new name costs nothing."""

    def rename(self, key: str, new_key: str) -> None:
        """Move a file or folder in one step, over an existing file if there is one."""


class Copying(Protocol):
    """Stores that copy by themselves, without the bytes passing through here."""

    def copy(self, key: str, new_key: str) -> ObjectInfo:
        """Copy inside this store."""

    def signed_url(self, key: str, lifetime_seconds: float) -> str | None:
        """An address that reads this object without a credential; None if none can be made."""

    def copy_from(self, url: str, key: str, source: ObjectInfo) -> ObjectInfo:
        """Copy from another store's signed address; `Unsupported` if the service refuses it.

        `PreconditionFailed` when the source has another size or version by now. Nothing is seen
        under the key before the copy is complete.
        """


class Folders(Protocol):
    """Stores in which an empty folder can be told from nothing."""

    def make_folder(self, place: str) -> None:
        """A folder that exists although nothing is in it; making it twice is fine."""

    def remove_folder(self, place: str) -> None:
        """Remove an empty folder or its marker; `Unsupported` when something is in it.

        A folder that is not there is no error.
        """
