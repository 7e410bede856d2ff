"""The script's output on its way to a terminal and a log."""

from __future__ import annotations

import logging
import os
import threading

log = logging.getLogger(__name__)

_PIECE_BYTES = 1 << 16


class Pump:
    """Moves what one pipe delivers to a descriptor and a log, as it comes, until its end.

    Neither a reader that has left nor a full disk holds the script up: the other one goes on.
    """

    def __init__(self, pipe: int, shown: int, logged: int) -> None:
        self._pipe = pipe
        self._targets = {"the terminal": shown, "the log": logged}
        self._thread = threading.Thread(target=self._run, name="datastores-output", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def finish(self, seconds: float) -> None:
        """Wait for the end of the pipe; a stranger that keeps it open is not waited for."""
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            while piece := os.read(self._pipe, _PIECE_BYTES):
                for what, target in list(self._targets.items()):
                    try:
                        _write_all(target, piece)
                    except OSError as error:
                        del self._targets[what]
                        log.warning("%s takes no more output: %s", what, error.strerror)
        finally:
            os.close(self._pipe)


def _write_all(target: int, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[os.write(target, view) :]
