"""A store that asks again when the answer was "not now"."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeAlias, TypeVar

from datastores.errors import (
    AlreadyExists,
    Corrupted,
    DatastoresError,
    NotFound,
    PreconditionFailed,
    Unavailable,
)
from datastores.storage.contract import (
    Block,
    Copying,
    Features,
    Folders,
    ObjectInfo,
    ObjectStream,
    Page,
    Patience,
    Presence,
    Renaming,
    Staging,
    Store,
)
from datastores.storage.shown import Shown
from datastores.value import Value

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from datastores.storage.contract import Body

log = logging.getLogger(__name__)
T = TypeVar("T")
# The store's identity, and the wait that it asked for, if it named one.
OnPause: TypeAlias = Callable[[str, float | None], None]

# Full jitter: a pause is anything up to a ceiling that doubles, so that a thousand nodes that were
# throttled together do not come back together.
FIRST_CEILING_SECONDS = 0.25
LAST_CEILING_SECONDS = 20.0

_GIVEN_UP = "a step of it was repeated until patience ended"
_MAY_BE_OURS = "an earlier attempt, whose answer was lost, may have done it; look before you go on"


@dataclass(slots=True)
class _Effort:
    """The attempts at one operation so far; tells when to try again and when to give up."""

    what: str
    key: str | None
    patience: Patience
    sleep: Callable[[float], None]
    clock: Callable[[], float]
    jitter: Callable[[], float]
    on_pause: Callable[[float | None], None]
    started: float
    attempts: int = 0

    def restart(self) -> None:
        """Forget past failures: something was achieved."""
        self.attempts = 0
        self.started = self.clock()

    def pause_or_raise(self, error: DatastoresError) -> None:
        """Wait before the next attempt; raises the error when there is no sense in one."""
        self.attempts += 1
        if not error.temporary or _GIVEN_UP in getattr(error, "__notes__", ()):
            raise error
        pause = self._pause_seconds(error)
        spent = self.clock() - self.started
        if self.attempts >= self.patience.attempts or spent + pause > self.patience.total_seconds:
            error.add_note(f"given up after {self.attempts} attempts in {spent:.1f} s")
            raise error
        level = {1: logging.DEBUG, 2: logging.INFO}.get(self.attempts, logging.WARNING)
        log.log(
            level,
            "%s: attempt %d of %d failed, next in %.2f s: %s",
            self.what,
            self.attempts,
            self.patience.attempts,
            pause,
            error,
        )
        self.on_pause(getattr(error, "retry_after_seconds", None))
        self.sleep(pause)

    def run(self, act: Callable[[], T]) -> T:
        while True:
            try:
                return act()
            except DatastoresError as error:
                self.pause_or_raise(error)

    def _pause_seconds(self, error: DatastoresError) -> float:
        ceiling = min(LAST_CEILING_SECONDS, FIRST_CEILING_SECONDS * 2.0 ** (self.attempts - 1))
        asked = getattr(error, "retry_after_seconds", None) or 0.0
        return float(asked) + ceiling * self.jitter()


class RetryingStore:
    """The inner store; temporary failures are tried again within `patience`.

    A broken read goes on at the byte it reached, in the same version. A listing that breaks goes
    on with the same page where it is resumable, else behind the last key when keys came in order.
    A write is tried again when its body can be sent again, hence not from an iterator; stores that send it in many
    requests repeat each of those themselves (`patiently`). `on_pause` is told the store's
    identity and what wait it asked for, so that others may slow down as well.
    """

    def __init__(
        self,
        store: Store,
        patience: Patience,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
        on_pause: OnPause | None = None,
    ) -> None:
        self.inner = store
        self._on_pause = on_pause
        self.patience = patience
        self._sleep = sleep
        self._clock = clock
        self._jitter = jitter

    @property
    def label(self) -> str:
        return self.inner.label

    @property
    def identity(self) -> str:
        return self.inner.identity

    @property
    def features(self) -> Features:
        return self.inner.features

    @property
    def staging(self) -> Staging | None:
        return self.inner.staging and RetryingStaging(self, self.inner.staging)

    @property
    def renaming(self) -> Renaming | None:
        return self.inner.renaming and RetryingRenaming(self, self.inner.renaming)

    @property
    def copying(self) -> Copying | None:
        return self.inner.copying and RetryingCopying(self, self.inner.copying)

    @property
    def folders(self) -> Folders | None:
        return self.inner.folders and RetryingFolders(self, self.inner.folders)

    def stat(self, key: str) -> ObjectInfo:
        return self.effort("stat", key).run(lambda: self.inner.stat(key))

    def read(
        self, key: str, *, start: int = 0, length: int | None = None, version: str | None = None
    ) -> ObjectStream:
        stream = self.effort("read", key).run(
            lambda: self.inner.read(key, start=start, length=length, version=version)
        )
        return ResumingStream(self, stream, start, length)

    def write(
        self,
        key: str,
        body: Body,
        *,
        only_if: str | Presence | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        effort = self.effort("write", key)
        if isinstance(body, Iterator):
            effort.patience = replace(effort.patience, attempts=1)
        return _doubting(
            effort, lambda: self.inner.write(key, body, only_if=only_if, metadata=metadata)
        )

    def delete(self, key: str) -> None:
        self.effort("delete", key).run(lambda: self.inner.delete(key))

    def list(self, prefix: str = "") -> Iterator[Page]:
        return self._pages("list", prefix, self.inner.list)

    def list_folder(self, place: str = "") -> Iterator[Page]:
        return self._pages("list_folder", place, self.inner.list_folder)

    def check(self, *, create: bool = False) -> None:
        self.effort("check", None).run(lambda: self.inner.check(create=create))

    def close(self) -> None:
        self.inner.close()

    def effort(self, what: str, key: str | None) -> _Effort:
        """A new operation, from now."""
        return _Effort(
            what,
            key,
            self.patience,
            self._sleep,
            self._clock,
            self._jitter,
            self._tell_pause,
            self._clock(),
        )

    def _tell_pause(self, asked_seconds: float | None) -> None:
        if self._on_pause:
            self._on_pause(self.identity, asked_seconds)

    def _pages(
        self, what: str, place: str, inner: Callable[[str], Iterator[Page]]
    ) -> Iterator[Page]:
        effort = self.effort(what, place)
        seen = Shown()
        pages = inner(place)
        while True:
            try:
                page = next(pages, None)
            except DatastoresError as error:
                if getattr(pages, "resumable", False):
                    effort.pause_or_raise(error)
                    continue
                if not seen.in_order:
                    raise
                effort.pause_or_raise(error)
                seen.resuming = True
                pages = inner(place)
                continue
            if page is None:
                return
            fresh = seen.unseen(page)
            yield fresh
            # Pages that were shown before achieve nothing, or a listing that always breaks at one
            # place would never end.
            if fresh.objects or fresh.folders or not seen.resuming:
                effort.restart()


class ResumingStream:
    """A stream that opens the same version again, where it broke."""

    def __init__(
        self, store: RetryingStore, stream: ObjectStream, start: int, length: int | None
    ) -> None:
        self._store = store
        self._stream = stream
        self._info = stream.info
        self._at = start
        end = self._info.size if length is None else min(self._info.size, start + length)
        self._end = max(start, end)
        self._closed = False

    @property
    def info(self) -> ObjectInfo:
        return self._info

    def __iter__(self) -> Iterator[Buffer]:
        effort = self._store.effort("read", self._info.key)
        while True:
            try:
                for piece in self._stream:
                    size = memoryview(piece).nbytes
                    self._advance(size)
                    yield piece
                    if size:
                        effort.restart()
                self._refuse_short_end()
            except DatastoresError as error:
                self._resume(effort, error)
            else:
                return

    def close(self) -> None:
        self._closed = True
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _resume(self, effort: _Effort, error: DatastoresError) -> None:
        # Without a version the rest could come from another object.
        if self._closed or self._info.version is None:
            raise error
        self._stream.close()
        while True:
            effort.pause_or_raise(error)
            try:
                self._stream = self._store.inner.read(
                    self._info.key,
                    start=self._at,
                    length=self._end - self._at,
                    version=self._info.version,
                )
            except DatastoresError as another:
                error = another
            else:
                return

    def _advance(self, size: int) -> None:
        self._at += size
        if self._at > self._end:
            raise Corrupted(
                self._store.label, self._info.key, "more arrived than it holds; read it again"
            )

    def _refuse_short_end(self) -> None:
        if self._at < self._end:
            raise Unavailable(
                self._store.label, self._info.key, f"it ended at byte {self._at} of {self._end}"
            )


class RetryingStaging(Value):
    """Blocks, tried again."""

    store: RetryingStore
    inner: Staging

    @property
    def largest_block(self) -> int:
        return self.inner.largest_block

    @property
    def most_blocks(self) -> int:
        return self.inner.most_blocks

    def stage(self, key: str, block_id: str, body: Buffer) -> None:
        self.store.effort("stage", key).run(lambda: self.inner.stage(key, block_id, body))

    def staged(self, key: str) -> Sequence[Block]:
        return self.store.effort("staged", key).run(lambda: self.inner.staged(key))

    def committed(self, key: str) -> Sequence[Block]:
        return self.store.effort("committed", key).run(lambda: self.inner.committed(key))

    def commit(
        self,
        key: str,
        block_ids: Sequence[str],
        *,
        only_if: str | Presence | None = None,
        metadata: Mapping[str, str] | None = None,
        md5: bytes | None = None,
    ) -> ObjectInfo:
        return _doubting(
            self.store.effort("commit", key),
            lambda: self.inner.commit(key, block_ids, only_if=only_if, metadata=metadata, md5=md5),
        )


class RetryingRenaming(Value):
    """Renames, tried again."""

    store: RetryingStore
    inner: Renaming

    def rename(self, key: str, new_key: str) -> None:
        _doubting(self.store.effort("rename", key), lambda: self.inner.rename(key, new_key))


class RetryingCopying(Value):
    """Copies, tried again."""

    store: RetryingStore
    inner: Copying

    def copy(self, key: str, new_key: str) -> ObjectInfo:
        return self.store.effort("copy", key).run(lambda: self.inner.copy(key, new_key))

    def signed_url(self, key: str, lifetime_seconds: float) -> str | None:
        effort = self.store.effort("signed_url", key)
        return effort.run(lambda: self.inner.signed_url(key, lifetime_seconds))

    def copy_from(self, url: str, key: str, source: ObjectInfo) -> ObjectInfo:
        effort = self.store.effort("copy_from", key)
        return effort.run(lambda: self.inner.copy_from(url, key, source))


class RetryingFolders(Value):
    """Folders, tried again."""

    store: RetryingStore
    inner: Folders

    def make_folder(self, place: str) -> None:
        self.store.effort("make_folder", place).run(lambda: self.inner.make_folder(place))

    def remove_folder(self, place: str) -> None:
        self.store.effort("remove_folder", place).run(lambda: self.inner.remove_folder(place))


def patiently(what: str, key: str, patience: Patience, act: Callable[[], T]) -> T:
    """Do one step of a long write, again after temporary failures.

    For stores that send a body in many requests: one that comes once cannot be sent again as a
    whole. When this gives up, a `RetryingStore` around the store does, too.
    """
    clock = time.monotonic
    effort = _Effort(what, key, patience, time.sleep, clock, random.random, lambda _: None, clock())
    try:
        return _doubting(effort, act)
    except DatastoresError as error:
        if error.temporary:
            error.add_note(_GIVEN_UP)
        raise


def _doubting(effort: _Effort, act: Callable[[], T]) -> T:
    """Run what is not the same when done twice; a refusal of a repeated attempt says so.

    Calling it success would let two writers win one race, since both may have sent equal bytes.
    """
    try:
        return effort.run(act)
    except (AlreadyExists, PreconditionFailed, NotFound) as refusal:
        if effort.attempts < 2:
            raise
        raise type(refusal)(refusal.store, refusal.key, _MAY_BE_OURS) from refusal
