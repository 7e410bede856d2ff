"""The script's output on its way to a terminal and a log."""

from __future__ import annotations

import logging
import os
import select
import threading

log = logging.getLogger(__name__)

_PIECE_BYTES = 1 << 16
# The beginning of a line waits so long for its end, so that a script's two streams meet between
# lines; what has no end, a prompt or a bar that is redrawn, is shown then.
_WAITS_MS = 50


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
        begun = b""
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        try:
            while True:
                if begun and not poll.poll(_WAITS_MS):
                    self._pass_on(begun)
                    begun = b""
                piece = os.read(self._pipe, _PIECE_BYTES)
                if not piece:
                    break
                lines, end, begun = (begun + piece).rpartition(b"\n")
                if len(begun) > _PIECE_BYTES:
                    lines, end, begun = lines + end, begun, b""
                self._pass_on(lines + end)
            self._pass_on(begun)
        finally:
            os.close(self._pipe)

    def _pass_on(self, piece: bytes) -> None:
        for what, target in list(self._targets.items()):
            try:
                _write_all(target, piece)
            except OSError as error:
                del self._targets[what]
                log.warning("%s takes no more output: %s", what, error.strerror)


def _write_all(target: int, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[os.write(target, view) :]
