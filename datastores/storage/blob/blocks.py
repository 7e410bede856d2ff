"""Blobs made of blocks: resumable uploads, and bodies too large for one request."""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from datastores.errors import NotFound, Unsupported
from datastores.storage.blob.headers import condition, metadata_headers, must_carry, written
from datastores.storage.blob.spelling import must_hold
from datastores.storage.blob.wire import Wire
from datastores.storage.contract import Block, ObjectInfo, Patience, Presence
from datastores.storage.retrying import patiently

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from datastores.storage.contract import Body

MIB = 1024 * 1024
LARGEST_BLOCK = 4000 * MIB
MOST_BLOCKS = 50_000

# One request carries this much at most: a request is bounded by the silence that `Patience`
# allows, so 60 s leave room for lines of 140 KB/s.
FIRST_BLOCK_BYTES = 8 * MIB

# The service wants all block ids of a blob to have one length, also those an earlier, abandoned
# upload left behind; so ids are padded to the longest length it takes.
_ID_BYTES = 64
_FOREIGN = "foreign:"


class BlobStaging:
    """Put Block and Put Block List."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    @property
    def patience(self) -> Patience:
        return self._wire.patience

    @property
    def largest_block(self) -> int:
        return LARGEST_BLOCK

    @property
    def most_blocks(self) -> int:
        return MOST_BLOCKS

    def stage(self, key: str, block_id: str, body: Buffer) -> None:
        must_hold(self._wire.place.label, key)
        if not memoryview(body).nbytes:
            raise Unsupported(self._wire.place.label, key, "a block cannot be empty; leave it out")
        self._wire.ask(
            "PUT", key, query={"comp": "block", "blockid": self._sent(key, block_id)}, body=body
        )

    def stage_from(
        self, key: str, block_id: str, url: str, start: int, length: int, version: str | None
    ) -> None:
        """A block that the service fetches by itself, of one version of its source."""
        headers = {
            "x-ms-copy-source": url,
            "x-ms-source-range": f"bytes={start}-{start + length - 1}",
            **({} if version is None else {"x-ms-source-if-match": f'"{version}"'}),
        }
        query = {"comp": "block", "blockid": self._sent(key, block_id)}
        self._wire.ask("PUT", key, query=query, headers=headers, body=b"")

    def staged(self, key: str) -> Sequence[Block]:
        return self._listed(key, "uncommitted")

    def committed(self, key: str) -> Sequence[Block]:
        return self._listed(key, "committed")

    def commit(
        self,
        key: str,
        block_ids: Sequence[str],
        *,
        only_if: str | Presence | None = None,
        metadata: Mapping[str, str] | None = None,
        md5: bytes | None = None,
    ) -> ObjectInfo:
        must_hold(self._wire.place.label, key)
        must_carry(self._wire.place.label, key, metadata)
        # The answer to a commit has no size, and asking after it could meet the next writer's.
        sizes = {block.id: block.size for block in self._listed(key, "committed")}
        sizes.update({block.id: block.size for block in self._listed(key, "uncommitted")})
        size = sum(sizes.get(block_id, 0) for block_id in block_ids)
        return self.commit_known(key, block_ids, size, only_if=only_if, metadata=metadata, md5=md5)

    def commit_known(
        self,
        key: str,
        block_ids: Sequence[str],
        size: int,
        *,
        only_if: str | Presence | None,
        metadata: Mapping[str, str] | None,
        md5: bytes | None = None,
    ) -> ObjectInfo:
        """A commit by a caller who knows the size."""
        headers = {**condition(only_if), **metadata_headers(metadata)}
        if md5 is not None:
            headers["x-ms-blob-content-md5"] = base64.b64encode(md5).decode()
        latest = "".join(f"<Latest>{self._sent(key, block_id)}</Latest>" for block_id in block_ids)
        xml = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{latest}</BlockList>'
        response = self._wire.ask(
            "PUT", key, query={"comp": "blocklist"}, headers=headers, body=xml.encode()
        )
        return written(key, size, response.headers)

    def _listed(self, key: str, kind: str) -> list[Block]:
        must_hold(self._wire.place.label, key)
        try:
            response = self._wire.ask(
                "GET", key, query={"comp": "blocklist", "blocklisttype": kind}
            )
        except NotFound as error:
            if error.detail:  # the container is missing, not the blob
                raise
            return []
        # Built by the service from sizes and base64 texts; no entities can be in it.
        root = ET.fromstring(response.content)  # noqa: S314 - see above
        return [
            Block(_told(block.findtext("Name", "")), int(block.findtext("Size", "0")))
            for block in root.iter("Block")
        ]

    def _sent(self, key: str, block_id: str) -> str:
        if block_id.startswith(_FOREIGN):
            return block_id.removeprefix(_FOREIGN)
        raw = block_id.encode()
        if not 0 < len(raw) <= _ID_BYTES or b"\0" in raw:
            raise Unsupported(
                self._wire.place.label, key, f"a block id has 1 to {_ID_BYTES} bytes; shorten it"
            )
        return base64.b64encode(raw.ljust(_ID_BYTES, b"\0")).decode()


def _told(sent: str) -> str:
    # Blocks that other tools made keep their id, and can be named in a commit.
    try:
        raw = base64.b64decode(sent, validate=True)
        text = raw.rstrip(b"\0").decode()
    except (binascii.Error, UnicodeDecodeError):
        return _FOREIGN + sent
    return text if len(raw) == _ID_BYTES and text else _FOREIGN + sent


def write_blocks(
    staging: BlobStaging,
    key: str,
    blocks: Iterable[Buffer],
    *,
    only_if: str | Presence | None,
    metadata: Mapping[str, str] | None,
) -> ObjectInfo:
    """A large object: block by block, then one commit. Nothing is seen of it before.

    Each request is repeated within the patience.
    """
    # Two writers of one key must not commit each other's blocks.
    writer = uuid.uuid4().hex
    block_ids = []
    size = 0
    for number, block in enumerate(blocks):
        block_id = f"{writer}-{number:06d}"
        patiently("stage", key, staging.patience, partial(staging.stage, key, block_id, block))
        block_ids.append(block_id)
        size += memoryview(block).nbytes
    return patiently(
        "commit",
        key,
        staging.patience,
        lambda: staging.commit_known(key, block_ids, size, only_if=only_if, metadata=metadata),
    )


def cut(body: Body) -> Iterator[Buffer]:
    """The body in blocks of the lengths that `block_bytes` gives, the last one shorter."""
    try:
        whole = memoryview(body)  # type: ignore[arg-type] # an iterable is found out by trying
    except TypeError:
        yield from _gathered(body)  # type: ignore[arg-type] # no buffer, so it is an iterable
        return
    # A view that jumps through memory cannot be seen as bytes without a copy.
    flat = whole.cast("B") if whole.c_contiguous else memoryview(whole.tobytes())
    at = number = 0
    while at < len(flat):
        length = block_bytes(number)
        yield flat[at : at + length]
        at += length
        number += 1


def _gathered(pieces: Iterable[Buffer]) -> Iterator[bytes]:
    block = bytearray()
    number = 0
    for piece in pieces:
        rest = memoryview(as_bytes(piece))
        while rest:
            room = block_bytes(number) - len(block)
            block += rest[:room]
            rest = rest[room:]
            if len(block) == block_bytes(number):
                yield bytes(block)
                block.clear()
                number += 1
    if block:
        yield bytes(block)


def block_bytes(number: int) -> int:
    """The length of a block: it grows, so that 50,000 blocks hold 7 TiB.

    The first 5,000 are the smallest, which keeps memory low for all but enormous objects.
    """
    return FIRST_BLOCK_BYTES << min(number // 5000, 5)


def as_bytes(body: Buffer) -> bytes:
    """The bytes of a buffer, copied only when they are not bytes already."""
    return body if isinstance(body, bytes) else memoryview(body).tobytes()
