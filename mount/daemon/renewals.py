"""Fresh leases for mounts that nobody else renews, in time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from datastores.errors import DatastoresError
from datastores.secret import redact

log = logging.getLogger(__name__)

# A registry that is away for a moment costs nothing: a third of the lease is left.
RETRY_SECONDS = 60.0
_LOOK_SECONDS = 3600.0


class Renewals:
    """Calls `renew` for a share when it is due; it says when the next renewal is."""

    def __init__(self, renew: Callable[[str], float | None]) -> None:
        self._renew = renew
        self._changed = threading.Condition()
        # All under `_changed`.
        self._due: dict[str, float] = {}
        self._trouble: dict[str, str] = {}
        self._is_over = False
        self._thread = threading.Thread(target=self._serve, name="renewals", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def schedule(self, share: str, due: float) -> None:
        with self._changed:
            self._due[share] = due
            self._changed.notify_all()

    def forget(self, share: str) -> None:
        with self._changed:
            self._due.pop(share, None)
            self._trouble.pop(share, None)

    def trouble(self, share: str) -> str | None:
        """Why the last renewal failed; None when it did not."""
        with self._changed:
            return self._trouble.get(share)

    def close(self) -> None:
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _serve(self) -> None:
        while (share := self._next()) is not None:
            try:
                due, trouble = self._renew(share), None
            except DatastoresError as error:
                due, trouble = time.time() + RETRY_SECONDS, redact(str(error))
                log.warning("the lease of %s is not renewed: %s", share, trouble)
            with self._changed:
                if trouble is None:
                    self._trouble.pop(share, None)
                else:
                    self._trouble[share] = trouble
                if due is not None:
                    self._due[share] = due

    def _next(self) -> str | None:
        with self._changed:
            while not self._is_over:
                share = min(self._due, key=self._due.__getitem__, default=None)
                if share is None:
                    self._changed.wait(_LOOK_SECONDS)
                    continue
                left = self._due[share] - time.time()
                if left <= 0:
                    del self._due[share]
                    return share
                self._changed.wait(min(left, _LOOK_SECONDS))
            return None
