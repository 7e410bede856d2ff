"""A store that fails when a test tells it to: the wrapper for everything about trouble."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from datastores.storage.contract import (
    Copying,
    Features,
    Folders,
    ObjectInfo,
    ObjectStream,
    Page,
    Presence,
    Renaming,
    Staging,
    Store,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from datastores.storage.contract import Body

T = TypeVar("T")


@dataclass(slots=True)
class Fault:
    """What happens to one call of a method; the parts happen in the order they stand here.

    `stall` is waited for at most 30 seconds; `error` then raises instead of the call;
    `after` runs when the call is done, for instance to change the object between two reads;
    `raises_after` loses the answer of a call that was carried out;
    `truncate_at` ends a read's bytes there in silence, `break_at` with `break_error`.
    """

    error: Exception | None = None
    stall: threading.Event | None = None
    after: Callable[[], None] | None = None
    raises_after: Exception | None = None
    truncate_at: int | None = None
    break_at: int | None = None
    break_error: Exception | None = None


@dataclass(slots=True)
class FaultyStore:
    """The inner store, with faults planned per method and call number, counted from 1.

    Calls of powers count under `stage`, `commit`, `rename`, `copy` and so on.
    """

    inner: Store
    calls: list[tuple[str, str]] = field(default_factory=list)
    _plans: dict[tuple[str, int], Fault] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def plan(self, method: str, fault: Fault, *, nth: int | Iterable[int] = 1) -> Self:
        """Let the nth call of a method from the start, or each of some calls, meet a fault."""
        for number in [nth] if isinstance(nth, int) else nth:
            self._plans[method, number] = fault
        return self

    def count(self, method: str) -> int:
        """How often a method was called."""
        with self._lock:
            return sum(name == method for name, _ in self.calls)

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
        power: Any = self.inner.staging and _FaultyPower(self, self.inner.staging)
        return power  # type: ignore[no-any-return]  # every attribute is the power's own

    @property
    def renaming(self) -> Renaming | None:
        power: Any = self.inner.renaming and _FaultyPower(self, self.inner.renaming)
        return power  # type: ignore[no-any-return]  # every attribute is the power's own

    @property
    def copying(self) -> Copying | None:
        power: Any = self.inner.copying and _FaultyPower(self, self.inner.copying)
        return power  # type: ignore[no-any-return]  # every attribute is the power's own

    @property
    def folders(self) -> Folders | None:
        power: Any = self.inner.folders and _FaultyPower(self, self.inner.folders)
        return power  # type: ignore[no-any-return]  # every attribute is the power's own

    def stat(self, key: str) -> ObjectInfo:
        return self.meet("stat", key, lambda: self.inner.stat(key))

    def read(
        self, key: str, *, start: int = 0, length: int | None = None, version: str | None = None
    ) -> ObjectStream:
        fault = self._next("read", key)
        stream = self._suffer(
            fault, lambda: self.inner.read(key, start=start, length=length, version=version)
        )
        return FaultyStream(stream, fault)

    def write(
        self,
        key: str,
        body: Body,
        *,
        only_if: str | Presence | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        return self.meet(
            "write", key, lambda: self.inner.write(key, body, only_if=only_if, metadata=metadata)
        )

    def delete(self, key: str) -> None:
        self.meet("delete", key, lambda: self.inner.delete(key))

    def list(self, prefix: str = "") -> Iterator[Page]:
        """Each page is a call of `list`."""
        return self._pages("list", prefix, self.inner.list(prefix))

    def list_folder(self, place: str = "") -> Iterator[Page]:
        """Each page is a call of `list_folder`."""
        return self._pages("list_folder", place, self.inner.list_folder(place))

    def check(self, *, create: bool = False) -> None:
        self.meet("check", "", lambda: self.inner.check(create=create))

    def close(self) -> None:
        self.inner.close()

    def meet(self, method: str, key: str, act: Callable[[], T]) -> T:
        """Carry out a call with the fault planned for it."""
        return self._suffer(self._next(method, key), act)

    def _next(self, method: str, key: str) -> Fault:
        with self._lock:
            self.calls.append((method, key))
            number = sum(name == method for name, _ in self.calls)
            return self._plans.get((method, number), Fault())

    def _suffer(self, fault: Fault, act: Callable[[], T]) -> T:
        if fault.stall and not fault.stall.wait(timeout=30):
            raise TimeoutError("the test never ended the stall")
        if fault.error:
            raise fault.error
        result = act()
        if fault.after:
            fault.after()
        if fault.raises_after:
            raise fault.raises_after
        return result

    def _pages(self, method: str, place: str, pages: Iterator[Page]) -> Iterator[Page]:
        while True:
            page = self.meet(method, place, lambda: next(pages, None))
            if page is None:
                return
            yield page


class _FaultyPower:
    """A power whose calls go through the store's plan."""

    def __init__(self, store: FaultyStore, power: object) -> None:
        self._store = store
        self._power = power

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._power, name)
        if not callable(attribute):
            return attribute

        def call(key: str, *args: Any, **options: Any) -> Any:
            return self._store.meet(name, key, lambda: attribute(key, *args, **options))

        return call


class FaultyStream:
    """The inner stream, cut short or broken where the fault says so."""

    def __init__(self, inner: ObjectStream, fault: Fault) -> None:
        self._inner = inner
        self._fault = fault
        self.closed = False

    @property
    def info(self) -> ObjectInfo:
        return self._inner.info

    def __iter__(self) -> Iterator[Buffer]:
        at = 0
        stops = [at for at in (self._fault.truncate_at, self._fault.break_at) if at is not None]
        stop = min(stops, default=None)
        for piece in self._inner:
            view = memoryview(piece)
            if stop is not None and at + view.nbytes >= stop:
                yield view[: stop - at]
                if self._fault.break_error:
                    raise self._fault.break_error
                return
            at += view.nbytes
            yield view

    def close(self) -> None:
        self.closed = True
        self._inner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
