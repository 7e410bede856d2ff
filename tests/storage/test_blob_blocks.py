"""How bodies are cut, and blocks that other tools made."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import pytest
from azure.storage.blob import BlobBlock, BlobClient

from datastores.credentials.kinds import AccountKey
from datastores.definitions.azure_storage import BlobContainer
from datastores.names import DatastoreName
from datastores.storage.blob import open_blob
from datastores.storage.blob.blocks import (
    FIRST_BLOCK_BYTES,
    LARGEST_BLOCK,
    MOST_BLOCKS,
    block_bytes,
    cut,
)
from datastores.storage.contract import Patience
from tests.servers.azurite import Azurite

MIB = 1024 * 1024


def test_blocks_hold_five_tebibytes() -> None:
    """The blocks a blob may have, at the lengths we give them, hold 5 TiB, each within its limit."""
    lengths = [block_bytes(number) for number in range(MOST_BLOCKS)]

    assert sum(lengths) >= 5 * 1024 * 1024 * MIB
    assert max(lengths) <= LARGEST_BLOCK
    assert lengths == sorted(lengths)


@pytest.mark.parametrize("size", [0, 1, FIRST_BLOCK_BYTES, FIRST_BLOCK_BYTES + 1])
def test_cut_is_the_same_for_buffers_and_pieces(size: int) -> None:
    """A buffer and the same bytes in pieces are cut at the same places, and nothing is lost."""
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    step = 3 * MIB + 1

    whole = [bytes(block) for block in cut(body)]
    pieces = [bytes(block) for block in cut(body[at : at + step] for at in range(0, size, step))]

    assert (b"".join(whole), whole) == (body, pieces)


def test_long_bodies_take_little_memory() -> None:
    """Cutting a body of 200 MiB from pieces holds about two blocks at a time."""

    def pieces() -> Iterator[bytes]:
        for _ in range(200):
            yield bytes(MIB)

    tracemalloc.start()
    total = sum(len(memoryview(block)) for block in cut(pieces()))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert total == 200 * MIB
    assert peak < 4 * FIRST_BLOCK_BYTES


def test_blocks_of_another_tool_can_be_kept(azurite: Azurite) -> None:
    """Committed blocks with ids in another form are told, and can be committed again."""
    container = azurite.container()
    with BlobClient(azurite.endpoint, container, "log", credential=azurite.key.reveal()) as client:
        client.stage_block("short", b"one,")
        client.commit_block_list([BlobBlock("short")])
    definition = BlobContainer(
        DatastoreName("pictures"), container, azurite.account, azurite.endpoint
    )
    store = open_blob(definition, AccountKey(azurite.key), Patience())
    assert store.staging

    blocks = store.staging.committed("log")
    made = store.staging.commit("log", [block.id for block in blocks])

    with store.read("log") as stream:
        content = b"".join(memoryview(piece) for piece in stream)
    store.close()
    assert ([block.size for block in blocks], made.size, content) == ([4], 4, b"one,")
