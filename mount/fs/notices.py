"""What the kernel is told unasked, from a thread that serves nothing."""

from __future__ import annotations

import contextlib
import queue
import threading

from mount.fs.contract import Kernel


class Notices:
    """A line of notices; one thread hands them on, so nobody who serves the kernel waits for it."""

    def __init__(self) -> None:
        self._line: queue.SimpleQueue[int | tuple[int, bytes] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def start(self, kernel: Kernel) -> None:
        self._thread = threading.Thread(
            target=self._hand_on, args=(kernel,), name="mount-notices", daemon=True
        )
        self._thread.start()

    def stop(self, seconds: float) -> None:
        thread, self._thread = self._thread, None
        if thread:
            self._line.put(None)
            thread.join(seconds)

    def forget_data(self, inode: int) -> None:
        if self._thread:
            self._line.put(inode)

    def forget_name(self, folder: int, name: bytes) -> None:
        if self._thread:
            self._line.put((folder, name))

    def _hand_on(self, kernel: Kernel) -> None:
        while True:
            notice = self._line.get()
            if notice is None:
                return
            # The kernel may have forgotten the inode already, or the mount may be gone.
            with contextlib.suppress(OSError):
                if isinstance(notice, int):
                    kernel.forget_data(notice)
                else:
                    kernel.forget_name(*notice)
