"""A draft becomes an object: whole, or by the blocks the store does not have yet."""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future, wait

from datastores.errors import AlreadyExists, PreconditionFailed
from datastores.storage.contract import ABSENT, ObjectInfo, Presence, Staging, Store
from datastores.value import Value
from mount.fs.arrival import arrived
from mount.fs.block_plan import Piece, plan_blocks, span
from mount.fs.contents import Contents
from mount.fs.counters import Counters
from mount.fs.draft import Draft
from mount.fs.facts import MTIME, spell_mtime
from mount.fs.spool import SpoolBody, read_padded
from mount.fs.view import MountView

log = logging.getLogger(__name__)

ID_LENGTH = 32
# Shorter ids than these could meet by chance.
SHORTEST_ID = 12


class Uploads(Value):
    """Sends drafts to one store."""

    store: Store
    contents: Contents
    view: MountView
    crew: Executor
    counters: Counters

    def send_draft(self, draft: Draft, key: str, modified_ns: int | None) -> tuple[ObjectInfo, int]:
        """Make the draft the object under this key; the generation of it that the object has.

        On failure its bytes stay in the spool. Whoever has told the draft settles it.
        """
        is_noted = self._describe(draft, key, modified_ns)
        try:
            return self._send(draft, key, modified_ns)
        except BaseException:
            self.counters.add("failed_uploads")
            if not is_noted:
                self._describe(draft, key, modified_ns)
            draft.file.harden()
            raise

    def settle(self, draft: Draft) -> None:
        """What was sent is known to be stored: nothing is left to recover."""
        with draft.lock:
            draft.noted = None
            draft.file.settle()

    def stream(self, draft: Draft, key: str) -> bool:
        """Send the full blocks of a file that is written in order; whether the writer may go on.

        A failure shows when the file is closed, and the block is sent again then.
        """
        staging = self.store.staging
        if staging is None:
            return True
        with draft.lock:
            if draft.base is not None or draft.sent_key not in (None, key):
                return True
            draft.sent_key = key
            ready = self._ready_blocks(draft)
            room = max(0, self.view.blocks_in_flight - len(draft.sending))
            for piece in ready[:room]:
                draft.sending[piece.start] = piece
        for piece in ready[:room]:
            self.crew.submit(self._stage_ahead, staging, draft, key, piece)
        return len(ready) <= room

    def wait_for_stream(self, draft: Draft) -> None:
        """Until one more block may be on its way."""
        with draft.lock:
            draft.lock.wait_for(
                lambda: len(draft.sending) < self.view.blocks_in_flight, self.view.turn_seconds
            )

    def fill(self, draft: Draft, start: int, end: int) -> None:
        draft.fill(start, end, self.contents.read_exactly)

    def _describe(self, draft: Draft, key: str, modified_ns: int | None) -> bool:
        """Write down where the bytes belong; a disk that is full does not keep them from the store."""
        with draft.lock:
            draft.noted = (key, modified_ns)
            try:
                draft.file.describe(draft.note(self.store.identity, key, modified_ns))
            except OSError as error:
                draft.noted = None
                log.warning("the note of %s cannot be written: %s", draft.file.path, error)
        return draft.noted is not None

    def _ready_blocks(self, draft: Draft) -> list[Piece]:
        whole_end = next((end for start, end in draft.have if start == 0), 0)
        ready: list[Piece] = []
        index = _first_unsent(draft, self.view.block_bytes)
        while len(ready) <= self.view.blocks_in_flight:
            start, end = span(index, self.view.block_bytes)
            if end > whole_end:
                break
            if start not in draft.sent and start not in draft.sending:
                ready.append(Piece(start, end, _new_id(ID_LENGTH)))
            index += 1
        return ready

    def _stage_ahead(self, staging: Staging, draft: Draft, key: str, piece: Piece) -> None:
        assert piece.id
        done = False
        try:
            data = read_padded(draft.file.fd, piece.start, piece.end)
            staging.stage(key, piece.id, data)
            done = True
        finally:
            self.counters.add("requests")
            with draft.lock:
                if draft.sending.get(piece.start) is piece:
                    del draft.sending[piece.start]
                    if done:
                        draft.sent[piece.start] = piece
                        self.counters.add("bytes_sent", piece.end - piece.start)
                        # Before anybody sees that nothing is on its way.
                        with contextlib.suppress(OSError):  # no holes, or no note: it stays
                            self._free_disk(draft)
                draft.lock.notify_all()

    def _free_disk(self, draft: Draft) -> None:
        """Drop the oldest sent blocks from the disk while the file takes too much of it; lock held.

        The first block stays: headers are written last.
        """
        excess = draft.file.disk_bytes - self.view.spool_bytes
        for piece in sorted(draft.sent.values(), key=lambda piece: piece.start):
            if excess <= 0:
                return
            if piece.start and not draft.punched.touches(piece.start, piece.end):
                self._punch(draft, piece)
                excess -= piece.end - piece.start

    def _punch(self, draft: Draft, piece: Piece) -> None:
        draft.punched.add(piece.start, piece.end)
        try:
            if draft.noted:
                # `recover` must not take the hole for zeros.
                draft.file.describe(draft.note(self.store.identity, *draft.noted))
            draft.file.punch(piece.start, piece.end)
        except OSError:
            draft.punched.remove(piece.start, piece.end)
            raise

    def _send(self, draft: Draft, key: str, modified_ns: int | None) -> tuple[ObjectInfo, int]:
        metadata = self._metadata(modified_ns)
        _settle_stream(draft, self.view.turn_seconds)
        with draft.lock:
            generation, size = draft.generation, draft.size
            condition = self._condition(draft)
        staging = self.store.staging
        try:
            if staging is None or size <= self.view.block_bytes:
                return self._send_whole(draft, key, size, condition, metadata), generation
            return self._send_blocks(staging, draft, key, size, condition, metadata), generation
        except (AlreadyExists, PreconditionFailed):
            # A new file that somebody else has made is never taken for ours.
            if condition is ABSENT and not draft.may_be_stored:
                raise
            note = draft.note(self.store.identity, key, modified_ns)
            mine = arrived(draft.file, note, self.store)
            if mine is None:
                raise
            return mine, generation

    def _condition(self, draft: Draft) -> str | Presence | None:
        if draft.exclusive:
            return ABSENT
        return draft.base.version if draft.base else None

    def _send_whole(
        self,
        draft: Draft,
        key: str,
        size: int,
        condition: str | Presence | None,
        metadata: Mapping[str, str] | None,
    ) -> ObjectInfo:
        self.fill(draft, 0, size)
        body = SpoolBody(draft.file.fd, size)
        whole = read_padded(draft.file.fd, 0, size) if size <= self.view.block_bytes else body
        self.counters.add("requests")
        info = self.store.write(key, whole, only_if=condition, metadata=metadata)
        self.counters.add("bytes_sent", size)
        return info

    def _send_blocks(
        self,
        staging: Staging,
        draft: Draft,
        key: str,
        size: int,
        condition: str | Presence | None,
        metadata: Mapping[str, str] | None,
    ) -> ObjectInfo:
        known: Sequence[Piece] = draft.known_pieces() if draft.sent_key in (None, key) else []
        known = known or self._blocks_of_base(staging, draft, key, size)
        plan = plan_blocks(size, known, self.view.block_bytes)
        length = len(next((piece.id for piece in known if piece.id), " " * ID_LENGTH))
        ids = [piece.id or _new_id(length) for piece in plan]
        self._stage_all(
            staging,
            draft,
            key,
            [
                Piece(piece.start, piece.end, name)
                for piece, name in zip(plan, ids, strict=True)
                if piece.id is None
            ],
        )
        self.counters.add("blocks_reused", sum(piece.id is not None for piece in plan))
        self.counters.add("requests")
        try:
            return staging.commit(key, ids, only_if=condition, metadata=metadata)
        except (AlreadyExists, PreconditionFailed):
            # An answer may have been lost. New ids are random, so an object of these is ours.
            info = self.store.stat(key)
            if info.size != size or [block.id for block in staging.committed(key)] != ids:
                raise
            return info

    def _blocks_of_base(
        self, staging: Staging, draft: Draft, key: str, size: int
    ) -> Sequence[Piece]:
        """Blocks of the version the draft began as that nothing has changed."""
        with draft.lock:
            base, dirty, base_end = draft.base, list(draft.dirty), draft.base_end
        if base is None or base_end < self.view.block_bytes:
            return []
        self.counters.add("requests")
        pieces: list[Piece] = []
        at = 0
        for block in staging.committed(key):
            end = at + block.size
            is_same = not any(start < end and stop > at for start, stop in dirty)
            if is_same and end <= min(base_end, size) and len(block.id) >= SHORTEST_ID:
                pieces.append(Piece(at, end, block.id))
            at = end
        return pieces

    def _stage_all(self, staging: Staging, draft: Draft, key: str, pieces: Iterable[Piece]) -> None:
        flying: set[Future[None]] = set()
        try:
            for piece in pieces:
                while len(flying) >= self.view.blocks_in_flight:
                    done, flying = wait(flying, return_when="FIRST_COMPLETED")
                    for one in done:
                        one.result()
                flying.add(self.crew.submit(self._stage, staging, draft, key, piece))
        finally:
            wait(flying)
        for one in flying:
            one.result()

    def _stage(self, staging: Staging, draft: Draft, key: str, piece: Piece) -> None:
        assert piece.id
        self.fill(draft, piece.start, piece.end)
        self.counters.add("requests")
        staging.stage(key, piece.id, read_padded(draft.file.fd, piece.start, piece.end))
        self.counters.add("bytes_sent", piece.end - piece.start)

    def _metadata(self, modified_ns: int | None) -> Mapping[str, str] | None:
        if modified_ns is None or not self.store.features.keeps_metadata:
            return None
        return {MTIME: spell_mtime(modified_ns)}


def _settle_stream(draft: Draft, seconds: float) -> None:
    with draft.lock:
        draft.lock.wait_for(lambda: not draft.sending, seconds)


def _first_unsent(draft: Draft, block_bytes: int) -> int:
    # Blocks are sent in order; one that was rewritten since waits for the close.
    latest = max((*draft.sent, *draft.sending), default=-1)
    index = len(draft.sent) + len(draft.sending)
    while span(index, block_bytes)[0] <= latest:
        index += 1
    return index


def _new_id(length: int) -> str:
    return (uuid.uuid4().hex * (-(-length // ID_LENGTH)))[:length]
