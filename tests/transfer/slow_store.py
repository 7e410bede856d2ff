"""A folder as a store that is slow and stages blocks, so that a kill finds something to break."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from datastores.storage.contract import Block, ObjectInfo, ObjectStream
from datastores.storage.local import LocalStore

SECONDS_PER_PIECE = 0.002
PIECE = 1 << 20


class SlowStore:
    """The inner store at about half a GiB per second and stream; blocks are files beside it."""

    def __init__(self, inner: LocalStore) -> None:
        self._inner = inner
        self._blocks = Path(os.fspath(inner.root) + ".blocks")
        self.copying = self.renaming = self.folders = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    @property
    def staging(self) -> SlowStaging:
        return SlowStaging(self._inner, self._blocks)

    def read(self, key: str, **options: Any) -> ObjectStream:
        stream: Any = SlowStream(self._inner.read(key, **options))
        return stream  # type: ignore[no-any-return]  # every attribute is the stream's own


class SlowStream:
    """The inner stream, piece by piece with pauses."""

    def __init__(self, inner: ObjectStream) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __iter__(self) -> Iterator[Any]:
        for piece in self._inner:
            time.sleep(SECONDS_PER_PIECE)  # the speed of a network, not a wait for an event
            yield piece

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._inner.close()


@dataclass(frozen=True, slots=True)
class SlowStaging:
    """Blocks as files, which survive the process that staged them."""

    inner: LocalStore
    root: Path
    largest_block: int = 1 << 30
    most_blocks: int = 50_000

    def stage(self, key: str, block_id: str, body: Any) -> None:
        folder = self.root / key.replace("/", "%")
        folder.mkdir(parents=True, exist_ok=True)
        time.sleep(SECONDS_PER_PIECE * memoryview(body).nbytes / PIECE)
        part = folder.parent / f"{folder.name}.{block_id}.tmp"
        part.write_bytes(body)
        part.rename(folder / block_id)

    def staged(self, key: str) -> Sequence[Block]:
        folder = self.root / key.replace("/", "%")
        if not folder.exists():
            return []
        return [Block(path.name, path.stat().st_size) for path in sorted(folder.iterdir())]

    def committed(self, key: str) -> Sequence[Block]:
        return []

    def commit(
        self,
        key: str,
        block_ids: Sequence[str],
        *,
        only_if: Any = None,
        metadata: Mapping[str, str] | None = None,
        md5: bytes | None = None,
    ) -> ObjectInfo:
        folder = self.root / key.replace("/", "%")
        body = [(folder / block_id).read_bytes() for block_id in block_ids]
        info = self.inner.write(key, body, only_if=only_if, metadata=metadata)
        for path in folder.iterdir():
            path.unlink()
        return info
