"""Those who look on while a transfer runs."""

from __future__ import annotations

from typing import Protocol


class Watcher(Protocol):
    """Told what happens, from many threads at once; it must return quickly and not raise.

    Every file ends in exactly one of `finished`, `skipped` and `failed`.
    """

    def found(self, files: int, size: int) -> None:
        """So many more files and bytes have been discovered; the total may still grow."""

    def started(self, name: str) -> None: ...

    def moved(self, name: str, size: int) -> None:
        """So many more bytes of this file are in place."""

    def finished(self, name: str) -> None: ...

    def skipped(self, name: str, why: str) -> None: ...

    def failed(self, name: str, error: BaseException) -> None: ...

    def close(self) -> None:
        """The transfer has ended, one way or the other."""


class Silent:
    """Looks away."""

    def found(self, files: int, size: int) -> None: ...

    def started(self, name: str) -> None: ...

    def moved(self, name: str, size: int) -> None: ...

    def finished(self, name: str) -> None: ...

    def skipped(self, name: str, why: str) -> None: ...

    def failed(self, name: str, error: BaseException) -> None: ...

    def close(self) -> None: ...
