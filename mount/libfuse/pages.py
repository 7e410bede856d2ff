"""What the kernel's page cache may keep when a file is opened.

libfuse knows a file by its path: all versions that ever were there share one set of pages, and
nothing can be dropped from them later. So pages are kept only from one open to the next of the same
inode, and while two versions of one path are open the later one is not cached at all.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from mount.fs.contract import Opened

MOST_PATHS = 65_536


class Pages:
    """Which inode filled the pages of a path; also what the file system says is outdated."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # All under the lock; the least recently opened path comes first.
        self._filled: OrderedDict[bytes, int] = OrderedDict()
        self._open: dict[bytes, list[int]] = {}

    def opened(self, path: bytes, inode: int, opened: Opened) -> tuple[bool, bool]:
        """Whether to keep the pages of before, and whether to go past them."""
        with self._lock:
            others = self._open.setdefault(path, [])
            is_mixed = any(other != inode for other in others)
            others.append(inode)
            kept = opened.keep_cache and not is_mixed and self._filled.get(path) == inode
            self._filled[path] = inode
            self._filled.move_to_end(path)
            if len(self._filled) > MOST_PATHS:
                self._filled.popitem(last=False)
            return kept, opened.direct or is_mixed

    def closed(self, path: bytes, inode: int) -> None:
        """A handle that was opened at this path is gone."""
        with self._lock:
            others = self._open[path]
            others.remove(inode)
            if not others:
                del self._open[path]

    def forget_data(self, inode: int) -> None:
        """The next open reads anew."""
        with self._lock:
            for path in [path for path, filled in self._filled.items() if filled == inode]:
                del self._filled[path]

    def forget_name(self, folder: int, name: bytes) -> None:
        """Names live for a second at most; they are not worth a search."""

    def moved(self) -> None:
        """Paths changed: nobody knows whose pages are where."""
        with self._lock:
            self._filled.clear()
