"""A complete file in somebody's hands."""

from __future__ import annotations

import os
import warnings
from types import TracebackType
from typing import Self


class HeldFile:
    """A descriptor that holds the file's shared lock; the file is safe until it is closed."""

    __slots__ = ("_fds", "fd", "path")

    def __init__(self, fd: int, path: str) -> None:
        self.fd = fd
        # Asking the kernel for it would not do: a file that was born without a name has none there.
        self.path = path
        # Emptied by whoever closes first: a pop is atomic, so that no descriptor is closed twice.
        self._fds = [fd]

    def close(self) -> None:
        try:
            fd = self._fds.pop()
        except IndexError:
            return
        os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if self._fds:
            warnings.warn(f"cached file {self.fd} was not closed", ResourceWarning, stacklevel=2)
            self.close()
