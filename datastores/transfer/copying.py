"""Objects of one store as objects of another."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from datastores import keys
from datastores.errors import (
    AlreadyExists,
    Corrupted,
    CredentialError,
    DatastoresError,
    DefinitionRejected,
    NotFound,
    PreconditionFailed,
    Unavailable,
    Unsupported,
)
from datastores.storage.contract import ABSENT, ObjectInfo, Store
from datastores.transfer.block_send import COPIES
from datastores.transfer.crew import Crew, Work
from datastores.transfer.download import listing, named
from datastores.transfer.globs import Globs
from datastores.transfer.hosts import HostBudget, budget_for
from datastores.transfer.ledger import Ledger
from datastores.transfer.options import Options, Overwrite
from datastores.transfer.pieces import Pieces
from datastores.transfer.planning import Refuse
from datastores.transfer.present import Present, worth_listing
from datastores.transfer.ranges import Range, block_bytes, plan_ranges
from datastores.transfer.summary import Summary
from datastores.transfer.surplus import Seen, refuse_no_folder, surplus_objects
from datastores.transfer.watcher import Silent, Watcher

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from datastores.storage.contract import Staging

# Long enough for a service to copy the largest block blob to another region.
SIGNED_SECONDS = 24 * 3600.0
# A service may refuse one object for what it is, its tier or size; so many in a row, and it
# refuses the two stores.
MOST_REFUSALS = 8


def copy(
    source: Store,
    source_place: str,
    target: Store,
    target_place: str,
    *,
    options: Options | None = None,
    watcher: Watcher | None = None,
) -> Summary:
    """Bring what is at one place to another, in the same store or a different one.

    A file goes to `target_place` itself, what lies below a folder keeps its name below it. The
    services copy by themselves where both can; otherwise the bytes pass through here, large ones
    in parallel blocks of one version.
    """
    options = options or Options()
    watcher = watcher or Silent()
    ledger = Ledger(watcher)
    budget = budget_for(target.identity)
    crew = Crew(budget, options.limits)
    copying = _Copying(source, source_place, target, target_place, options, ledger, crew, budget)
    try:
        copying.refuse_contradictions()
        crew.run(copying.works())
        if crew.gave_up:
            ledger.abandon()
        elif options.delete and not ledger.summary().failed:
            copying.delete_surplus()
        return ledger.settle()
    finally:
        watcher.close()


@dataclass(slots=True)
class _Copying:
    """One running copy; everything in it may be used from any thread."""

    source: Store
    source_place: str
    target: Store
    target_place: str
    options: Options
    ledger: Ledger
    crew: Crew
    budget: HostBudget
    # Turned off when no address can be signed, and by so many refusals in a row that the next one
    # would be the same. Two threads may lose a count, which costs one more question.
    by_the_service: bool = True
    refusals: int = 0
    # What is at the target; None: ask for each object.
    present: Present | None = None
    seen: Seen = field(default_factory=Seen)

    def refuse_contradictions(self) -> None:
        """Raise when the copy would meet its own output, or delete its source."""
        here, there = self.source_place, self.target_place
        if self.source.identity == self.target.identity and here != there:
            if keys.is_below(there, here) and self.options.only is None:
                why = f'it is inside its own source "{here or "/"}"; choose a place beside it'
                raise DefinitionRejected(there or "/", why)
            if keys.is_below(here, there) and self.options.delete:
                why = f'deleting there would delete its own source "{here}"; leave out `delete`'
                raise DefinitionRejected(there or "/", why)
        if self.options.delete:
            refuse_no_folder(self.source, here)

    def works(self) -> Iterator[Work]:
        globs = Globs.compile(self.options.include, self.options.exclude)
        only = self.options.only
        objects: Iterable[ObjectInfo | Refuse] = (
            listing(self.source, self.source_place)
            if only is None
            else named(self.source, only, self.source_place)
        )
        pages, objects = worth_listing(objects)
        if self.options.overwrite is not Overwrite.ALWAYS:
            self.present = Present.read(self.target, self.target_place, pages)
        for info in objects:
            if isinstance(info, Refuse):
                self.fail(info.name, info.error)
                continue
            name = (
                "" if info.key == self.source_place else keys.relative(info.key, self.source_place)
            )
            if not globs.admits(name or keys.basename(info.key)):
                continue
            if self.options.delete:
                self.seen.add(name)
            self.ledger.found(info.size)
            weight = COPIES * min(info.size, self.options.small_bytes)
            yield Work(_One(self, info, keys.join(self.target_place, name)), weight)

    def delete_surplus(self) -> None:
        # The same counts and limits, and a crew of its own: this one has ended.
        sweep = replace(self, crew=Crew(self.budget, self.options.limits))
        sweep.crew.run(
            surplus_objects(
                self.target, self.target_place, self.seen, self.options, self.ledger, sweep.fail
            )
        )

    def reason_to_skip(self, info: ObjectInfo, key: str) -> str | None:
        """Why this object need not be copied; None when it must."""
        if self.options.overwrite is Overwrite.ALWAYS:
            return None
        there = self._at_target(key)
        if there is None:
            return None
        if self.options.overwrite is Overwrite.SKIP_EXISTING:
            return "it exists"
        return "unchanged" if is_copy_of(there, info) else None

    def _at_target(self, key: str) -> ObjectInfo | None:
        # The place itself is not below the place.
        if self.present is not None and key != self.target_place:
            return self.present.find(key)
        try:
            return self.target.stat(key)
        except NotFound:
            return None

    def by_service(self, info: ObjectInfo, key: str) -> bool:
        """Let the services copy; False when they cannot."""
        receiving, giving = self.target.copying, self.source.copying
        if not self.by_the_service or receiving is None:
            return False
        try:
            if self.source.identity == self.target.identity:
                done = receiving.copy(info.key, key)
            else:
                url = giving.signed_url(info.key, SIGNED_SECONDS) if giving else None
                if url is None:
                    self.by_the_service = False
                    return False
                done = receiving.copy_from(url, key, info)
        except (Unsupported, Unavailable):
            # Also when the one cannot reach the other: a firewall may let in this machine alone.
            self.refusals += 1
            if self.refusals >= MOST_REFUSALS:
                self.by_the_service = False
            return False
        self.refusals = 0
        if done.size != info.size:
            detail = f"{done.size} bytes were copied, {info.size} were listed; run it again"
            raise PreconditionFailed(self.source.label, info.key, detail)
        return True

    def fail(self, name: str, error: Exception) -> None:
        """One object did not arrive: say so, slow down if asked to, go on or stop."""
        if not isinstance(error, DatastoresError):
            raise error
        if isinstance(error, Unavailable):
            self.budget.throttled(error.retry_after_seconds)
        self.ledger.failed(name, error)
        if isinstance(error, CredentialError) or not self.options.keep_going:
            self.crew.stop()


def is_copy_of(there: ObjectInfo, info: ObjectInfo) -> bool:
    """Whether the object there is what a copy of this one would be.

    By MD5 where both declare it; otherwise by size and by being no older than its source, since
    versions of two stores cannot be compared.
    """
    if there.size != info.size:
        return False
    if there.md5 is not None and info.md5 is not None:
        return there.md5 == info.md5
    if there.modified_ns is None or info.modified_ns is None:
        return False
    return there.modified_ns >= info.modified_ns


class _One:
    """The work of copying one object."""

    __slots__ = ("_copying", "_info", "_key")

    def __init__(self, copying: _Copying, info: ObjectInfo, key: str) -> None:
        self._copying = copying
        self._info = info
        self._key = key

    def __call__(self) -> int | None:
        copying, info = self._copying, self._info
        try:
            return self._copy()
        except Exception as error:  # noqa: BLE001  # reported with the object's name
            copying.fail(info.key, error)
            return None

    def _copy(self) -> int | None:
        copying, info, key = self._copying, self._info, self._key
        if why := self._reason_to_leave():
            copying.ledger.skipped(info.key, why)
            return None
        if info.key.endswith("/") and not info.size:
            return self._make_folder()
        copying.ledger.started(info.key)
        if copying.by_service(info, key):
            copying.ledger.moved(info.key, info.size)
            copying.ledger.finished(info.key)
            return info.size
        if info.size > copying.options.small_bytes and _BlockCopy.suits(copying.target, info):
            _BlockCopy(copying, info, key).open()
            return None
        return self._stream()

    def _reason_to_leave(self) -> str | None:
        copying, info, key = self._copying, self._info, self._key
        if copying.source.identity == copying.target.identity and info.key == key:
            return "it is the same object"
        if why := copying.reason_to_skip(info, key):
            return why
        return "would be copied" if copying.options.dry_run else None

    def _make_folder(self) -> int | None:
        folders, place = self._copying.target.folders, self._key.rstrip("/")
        if folders is None or not place:
            self._copying.ledger.skipped(self._info.key, "the target has no empty folders")
        else:
            folders.make_folder(place)
            self._copying.ledger.finished(self._info.key)
        return None

    def _stream(self) -> int | None:
        copying, info, key = self._copying, self._info, self._key
        small = info.size <= copying.options.small_bytes
        with copying.source.read(info.key) as stream:
            metadata = dict(stream.info.metadata)
            pieces = self._pieces(stream)
            body = b"".join(pieces) if small else pieces
            new_only = copying.options.overwrite is Overwrite.SKIP_EXISTING
            only_if = ABSENT if new_only else None
            try:
                copying.target.write(key, body, metadata=metadata, only_if=only_if)
            except AlreadyExists:
                copying.ledger.skipped(info.key, "it exists")
                return None
        copying.ledger.finished(info.key)
        return info.size

    def _pieces(self, stream: object) -> Iterator[Buffer]:
        for piece in stream:  # type: ignore[attr-defined]  # an ObjectStream
            self._copying.crew.check()
            self._copying.ledger.moved(self._info.key, memoryview(piece).nbytes)
            yield piece


class _BlockCopy:
    """One large object on its way; the thread that ends its last block commits it."""

    def __init__(self, copying: _Copying, info: ObjectInfo, key: str) -> None:
        self._copying = copying
        self._info = info
        self._key = key
        self._run_id = os.urandom(6).hex()
        self._pieces = Pieces(self._complete)

    @staticmethod
    def suits(target: Store, info: ObjectInfo) -> bool:
        staging = target.staging
        return staging is not None and bool(
            block_bytes(info.size, staging.largest_block, staging.most_blocks)
        )

    def open(self) -> None:
        """Pin the version and queue the blocks."""
        copying = self._copying
        if self._info.version is None:
            self._info = copying.source.stat(self._info.key)
        staging = self._staging
        length = block_bytes(self._info.size, staging.largest_block, staging.most_blocks)
        pieces = list(plan_ranges(self._info.size, length))
        self._pieces.left = len(pieces)
        if not pieces:
            # It has become empty since the listing, so no block will end it.
            self._complete()
            return
        copying.crew.add(
            Work(
                partial(self._pieces.run, partial(self._send, piece)),
                COPIES * piece.length,
            )
            for piece in pieces
        )

    @property
    def _staging(self) -> Staging:
        staging = self._copying.target.staging
        assert staging is not None
        return staging

    def _send(self, piece: Range) -> int:
        copying, info = self._copying, self._info
        buffer = bytearray(piece.length)
        at = 0
        with copying.source.read(
            info.key, start=piece.start, length=piece.length, version=info.version
        ) as stream:
            for data in stream:
                copying.crew.check()
                view = memoryview(data).cast("B")
                buffer[at : at + view.nbytes] = view
                at += view.nbytes
        if at != piece.length:
            detail = f"{at} of {piece.length} bytes of a range; run it again"
            raise Corrupted(copying.source.label, info.key, detail)
        self._staging.stage(self._key, self._id(piece.index), buffer)
        copying.ledger.moved(info.key, at)
        return at

    def _id(self, index: int) -> str:
        return f"{index:05d}-{self._run_id}"

    def _complete(self) -> None:
        copying, info = self._copying, self._info
        error = self._pieces.error
        if error is None:
            try:
                copying.crew.check()
                self._commit()
            except Exception as failed:  # noqa: BLE001  # reported with the object's name
                error = failed
        if error is not None:
            copying.fail(info.key, error)

    def _commit(self) -> None:
        copying, info = self._copying, self._info
        staging = self._staging
        length = block_bytes(info.size, staging.largest_block, staging.most_blocks)
        ids = [self._id(piece.index) for piece in plan_ranges(info.size, length)]
        new_only = copying.options.overwrite is Overwrite.SKIP_EXISTING
        metadata = info.metadata or copying.source.stat(info.key).metadata
        only_if = ABSENT if new_only else None
        try:
            if ids:
                staging.commit(self._key, ids, only_if=only_if, metadata=metadata, md5=info.md5)
            else:
                copying.target.write(self._key, b"", only_if=only_if, metadata=metadata)
        except AlreadyExists:
            copying.ledger.skipped(info.key, "it exists")
            return
        copying.ledger.finished(info.key)
