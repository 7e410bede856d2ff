"""Exceptions that nobody foresaw: one failed call each, one trace per kind in the log."""

from __future__ import annotations

import logging
import threading

from datastores.secret import redact
from mount.fs.errno import errno_for, is_expected
from mount.fuse.layouts import Op

log = logging.getLogger(__name__)


class Defects:
    """Counts them, and tells each kind once: under load it would fill the log."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()
        self._told: set[tuple[type[BaseException], str]] = set()  # under the lock

    def number_for(self, error: Exception, operation: int | str) -> int:
        """The errno that the caller gets; a defect is counted and told."""
        if not is_expected(error):
            self._tell_once(error, named(operation))
        return errno_for(error)

    def _tell_once(self, error: Exception, operation: str) -> None:
        with self._lock:
            self.count += 1
            kind = (type(error), operation)
            if kind in self._told:
                return
            self._told.add(kind)
        log.error(
            "%s failed and was answered with EIO: %s",
            operation,
            redact(str(error)),
            exc_info=error,
        )


def named(operation: int | str) -> str:
    """The kernel's request codes have names; whoever passes a name has it already."""
    if isinstance(operation, str):
        return operation
    return Op(operation).name if operation in set(Op) else f"request {operation}"
