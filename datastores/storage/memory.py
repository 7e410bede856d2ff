"""A store in this process's memory, with every power; what tests and examples run on."""

from __future__ import annotations

import itertools
import threading
import time
import urllib.parse
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Self

from datastores.errors import (
    AlreadyExists,
    NameRejected,
    NotFound,
    PreconditionFailed,
    StoreError,
    Unsupported,
)
from datastores.storage.contract import ABSENT, Block, Features, ObjectInfo, Page, Presence
from datastores.value import Value

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from datastores.storage.contract import Body

# Times count from here, one second a write, so that a test's listing is the same on every run.
_FIRST_WRITE_NS = 1_700_000_000 * 10**9

_numbers = itertools.count(1)
_alive: weakref.WeakValueDictionary[str, MemoryStore] = weakref.WeakValueDictionary()


class _Object(Value):
    """Bytes under a key; `blocks` are the pieces a commit made them of."""

    info: ObjectInfo
    body: bytes
    blocks: tuple[tuple[str, bytes], ...] = ()


class MemoryStore:
    """Objects in a dictionary; it is its own `staging`, `renaming`, `copying` and `folders`.

    Versions and times count up from the first write, so two runs of one test see the same values.
    """

    largest_block = 4000 * 1024 * 1024
    most_blocks = 50_000
    features = Features()

    def __init__(
        self, label: str = "memory", *, page_size: int = 1000, piece_bytes: int = 256 * 1024
    ) -> None:
        self.label = label
        self.identity = f"memory:{next(_numbers)}:{label}"
        self.page_size = page_size
        self.piece_bytes = piece_bytes
        self._lock = threading.Lock()
        # Under the lock: both dictionaries and the count.
        self._objects: dict[str, _Object] = {}
        self._staged: dict[str, dict[str, bytes]] = {}
        self._writes = 0
        _alive[self.identity] = self

    @property
    def staging(self) -> Self:
        return self

    @property
    def renaming(self) -> Self:
        return self

    @property
    def copying(self) -> Self:
        return self

    @property
    def folders(self) -> Self:
        return self

    def stat(self, key: str) -> ObjectInfo:
        with self._lock:
            return self._found(key).info

    def read(
        self, key: str, *, start: int = 0, length: int | None = None, version: str | None = None
    ) -> MemoryStream:
        with self._lock:
            found = self._found(key)
        if version is not None and found.info.version != version:
            raise PreconditionFailed(self.label, key, "read it again without a version")
        end = len(found.body) if length is None else start + length
        return MemoryStream(found.info, found.body[start:end], self.piece_bytes)

    def write(
        self,
        key: str,
        body: Body,
        *,
        only_if: str | Presence | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        self._refuse_impossible(key)
        whole = _joined(body)
        with self._lock:
            self._judge(key, only_if)
            return self._put(key, whole, metadata or {})

    def delete(self, key: str) -> None:
        with self._lock:
            self._objects.pop(key, None)

    def list(self, prefix: str = "") -> Iterator[Page]:
        with self._lock:
            keys = sorted(key for key in self._objects if key.startswith(prefix))
        for some in _batches(keys, self.page_size):
            with self._lock:
                infos = [self._objects[key].info for key in some if key in self._objects]
            yield Page(objects=infos)

    def list_folder(self, place: str = "") -> Iterator[Page]:
        below = f"{place}/" if place else ""
        children: dict[str, bool] = {}
        with self._lock:
            for key in sorted(self._objects):
                if key.startswith(below) and key != below:
                    name, slash, _ = key[len(below) :].partition("/")
                    children[below + name + slash] = bool(slash)
        for some in _batches(list(children), self.page_size):
            # The lock is not held while the caller has the page.
            with self._lock:
                objects = [
                    self._objects[child].info
                    for child in some
                    if not children[child] and child in self._objects
                ]
            yield Page(objects, [child[:-1] for child in some if children[child]])

    def check(self, *, create: bool = False) -> None:
        """Memory is always there."""

    def close(self) -> None:
        """Nothing is held open; the objects stay."""

    def stage(self, key: str, block_id: str, body: Buffer) -> None:
        self._refuse_impossible(key)
        with self._lock:
            self._staged.setdefault(key, {})[block_id] = bytes(body)

    def staged(self, key: str) -> Sequence[Block]:
        with self._lock:
            blocks = self._staged.get(key, {})
            return [Block(block_id, len(body)) for block_id, body in sorted(blocks.items())]

    def committed(self, key: str) -> Sequence[Block]:
        with self._lock:
            blocks = self._objects[key].blocks if key in self._objects else ()
            return [Block(block_id, len(body)) for block_id, body in blocks]

    def commit(
        self,
        key: str,
        block_ids: Sequence[str],
        *,
        only_if: str | Presence | None = None,
        metadata: Mapping[str, str] | None = None,
        md5: bytes | None = None,
    ) -> ObjectInfo:
        self._refuse_impossible(key)
        with self._lock:
            self._judge(key, only_if)
            present = self._objects[key].blocks if key in self._objects else ()
            known = dict(present) | self._staged.get(key, {})
            missing = [block_id for block_id in block_ids if block_id not in known]
            if missing:
                raise StoreError(self.label, key, f'block "{missing[0]}" was not sent; stage it')
            blocks = tuple((block_id, known[block_id]) for block_id in block_ids)
            whole = b"".join(body for _, body in blocks)
            self._staged.pop(key, None)
            return self._put(key, whole, metadata or {}, blocks, md5)

    def rename(self, key: str, new_key: str) -> None:
        self._refuse_impossible(new_key)
        with self._lock:
            moved = [k for k in self._objects if k == key or k.startswith(key + "/")]
            if not moved:
                raise NotFound(self.label, key)
            if new_key.startswith(key + "/"):
                raise Unsupported(self.label, key, f'"{new_key}" is inside it; choose another name')
            for old in moved:
                held = self._objects.pop(old)
                new = new_key + old[len(key) :]
                self._objects[new] = replace(held, info=replace(held.info, key=new))

    def copy(self, key: str, new_key: str) -> ObjectInfo:
        self._refuse_impossible(new_key)
        with self._lock:
            source = self._found(key)
            return self._put(new_key, source.body, source.info.metadata)

    def signed_url(self, key: str, lifetime_seconds: float) -> str:
        until = time.time() + lifetime_seconds
        place = urllib.parse.quote(self.identity, safe="")
        return f"memory://{place}/{urllib.parse.quote(key, safe='')}?until={until}"

    def copy_from(self, url: str, key: str, source: ObjectInfo) -> ObjectInfo:
        parts = urllib.parse.urlsplit(url)
        store = _alive.get(urllib.parse.unquote(parts.netloc))
        if parts.scheme != "memory" or store is None:
            raise Unsupported(self.label, key, "the address is of another kind; send the bytes")
        if float(parts.query.removeprefix("until=")) < time.time():
            raise Unsupported(self.label, key, "the address has expired; sign another")
        source_key = urllib.parse.unquote(parts.path[1:])
        with store.read(source_key) as stream:
            if (stream.info.size, stream.info.version) != (source.size, source.version):
                raise PreconditionFailed(self.label, key, "the source changed; sign it again")
            return self.write(key, list(stream), metadata=stream.info.metadata)

    def make_folder(self, place: str) -> None:
        if place + "/" not in self._objects:
            self.write(place + "/", b"")

    def remove_folder(self, place: str) -> None:
        marker = place + "/"
        with self._lock:
            if any(key.startswith(marker) and key != marker for key in self._objects):
                raise Unsupported(self.label, place, "the folder is not empty; remove its content")
            self._objects.pop(marker, None)

    def _found(self, key: str) -> _Object:
        try:
            return self._objects[key]
        except KeyError:
            raise NotFound(self.label, key) from None

    def _judge(self, key: str, only_if: str | Presence | None) -> None:
        present = self._objects.get(key)
        if only_if is ABSENT and present:
            raise AlreadyExists(self.label, key, "ask for overwrite, or choose another name")
        if isinstance(only_if, str) and (not present or present.info.version != only_if):
            raise PreconditionFailed(self.label, key, "read it again, then decide")

    def _put(
        self,
        key: str,
        body: bytes,
        metadata: Mapping[str, str],
        blocks: tuple[tuple[str, bytes], ...] = (),
        md5: bytes | None = None,
    ) -> ObjectInfo:
        self._writes += 1
        info = ObjectInfo(
            key=key,
            size=len(body),
            modified_ns=_FIRST_WRITE_NS + self._writes * 10**9,
            version=f"v{self._writes}",
            md5=md5,
            metadata=dict(metadata),
        )
        self._objects[key] = _Object(info, body, blocks)
        return info

    def _refuse_impossible(self, key: str) -> None:
        if not key:
            raise NameRejected("object", key, "it is empty; give it at least one character")
        if len(key) > self.features.longest_key:
            raise NameRejected("object", key, f"use at most {self.features.longest_key} characters")


class MemoryStream:
    """Bytes that are already here, handed out in pieces."""

    def __init__(self, info: ObjectInfo, body: bytes, piece_bytes: int) -> None:
        self.info = info
        self._body = body
        self._piece_bytes = piece_bytes

    def __iter__(self) -> Iterator[Buffer]:
        view = memoryview(self._body)
        for start in range(0, len(view), self._piece_bytes):
            yield view[start : start + self._piece_bytes]

    def close(self) -> None:
        """Nothing is held open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _joined(body: Body) -> bytes:
    try:
        return bytes(memoryview(body))  # type: ignore[arg-type]  # the TypeError tells which it is
    except TypeError:
        assert isinstance(body, Iterable)
        return b"".join(memoryview(piece) for piece in body)


def _batches(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), size):
        yield names[start : start + size]
