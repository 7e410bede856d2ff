"""Bytes into a file under a hidden name, in ranges the service takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

from datastores.storage.contract import ObjectInfo, Presence
from datastores.storage.file_share.connection import Connection
from datastores.storage.file_share.failures import translated
from datastores.storage.file_share.naming import Naming
from datastores.storage.file_share.objects import info_after_write
from datastores.storage.file_share.place import Place
from datastores.storage.file_share.spelling import temporary_beside
from datastores.storage.retrying import patiently
from datastores.storage.verbs import pieces

if TYPE_CHECKING:
    from datastores.storage.contract import Body

# The most that one Put Range takes.
RANGE_BYTES = 4 * 1024 * 1024


class Upload:
    """Writes into one share."""

    def __init__(self, connection: Connection, place: Place, naming: Naming) -> None:
        self._connection, self._place, self._naming = connection, place, naming

    def write(
        self,
        key: str,
        body: Body,
        only_if: str | Presence | None,
        metadata: Mapping[str, str],
        before_naming: Callable[[], None],
    ) -> ObjectInfo:
        """Send everything under a hidden name, look once more, then take the name."""
        temporary = temporary_beside(key)
        try:
            size = self._send(key, temporary, body, metadata)
            before_naming()
            headers = self._naming.give(temporary, key, only_if)
        except BaseException:
            self._naming.discard(temporary)
            raise
        return info_after_write(key, size, headers, metadata)

    def _send(self, key: str, temporary: str, body: Body, metadata: Mapping[str, str]) -> int:
        """A file has a size from the start; one that turns out longer is made to grow twofold."""
        ranges = _ranges(body)
        data = next(ranges, b"")
        room, at = len(data), 0

        client = self._connection.file(temporary)
        create = partial(client.create_file, room, metadata=dict(metadata))
        self._naming.with_folder(key, lambda: self._sent(key, create))
        while data:
            if at + len(data) > room:
                room = max(2 * room, at + len(data))
                self._sent(key, partial(client.resize_file, room))
            self._sent(key, partial(client.upload_range, data, offset=at, length=len(data)))
            at += len(data)
            data = next(ranges, b"")
        if at < room:
            self._sent(key, partial(client.resize_file, at))
        return at

    def _sent(self, key: str, act: Callable[[], object]) -> None:
        """One request, repeated within the patience: each may be sent twice."""

        def once() -> None:
            with translated(self._place, key):
                act()

        patiently("upload", key, self._connection.patience, once)


def _ranges(body: Body) -> Iterator[bytes]:
    """The body cut and joined to ranges of the largest size, the last one shorter."""
    gathered = bytearray()
    for piece in pieces(body):
        rest = piece
        while rest.nbytes:
            # A whole range goes out as it came, without being gathered first.
            if not gathered and rest.nbytes >= RANGE_BYTES:
                yield bytes(rest[:RANGE_BYTES])
                rest = rest[RANGE_BYTES:]
                continue
            taken = min(rest.nbytes, RANGE_BYTES - len(gathered))
            gathered += rest[:taken]
            rest = rest[taken:]
            if len(gathered) == RANGE_BYTES:
                yield bytes(gathered)
                gathered.clear()
    if gathered:
        yield bytes(gathered)
