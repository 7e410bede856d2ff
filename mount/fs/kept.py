"""Versions that nobody has open any more, and whose files stay open for the next one."""

from __future__ import annotations

import resource
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mount.fs.contents import Content

# What is not opened again within this time is let go of: a second pass over some thousands of
# files finds those of the first, which took ten seconds.
IDLE_SECONDS = 30.0
# The cache notes a file's use once a minute, when it is found there: whoever opens one for ever
# has to find it that often, or it would look unused.
FOUND_SECONDS = 60.0
# A part of the descriptors that a process may have; each costs the machine 1 KiB as well.
FILES_SHARE, MOST_FILES = 4, 16_384
# A part of the cache's quota: what is kept cannot be evicted for other processes' sake.
QUOTA_SHARE = 8
# Less than this part of it does not stand in the way of what comes in: there is the rest to evict,
# and all of that is older. When everything went at each fetch, nothing was left of a first pass over
# 5,000 files, and the second took 130 us of processor time for each instead of 55.
QUIET_SHARE = 64
# Where the cache does not say what its quota is.
MOST_BYTES = 512 * 1024 * 1024


class Kept:
    """Which versions are kept, and until when; used under the lock of the open contents.

    When it is full, newcomers are refused: whoever reads more files in a circle than fit would
    otherwise throw each one out just before its turn, and find none.
    """

    def __init__(self, most_files: int, most_bytes: int, quiet_bytes: int = 0) -> None:
        self._most_files = most_files
        self._most_bytes = most_bytes
        self._quiet_bytes = quiet_bytes
        self._bytes = 0
        # Since when; the oldest first.
        self._since: dict[Content, float] = {}

    def __len__(self) -> int:
        return len(self._since)

    def takes(self, content: Content, now: float) -> bool:
        """Keep a version that nobody has open; False when it is to be closed."""
        if content.cached is None or content.reader is not None or content.is_broken:
            return False
        if now - content.since > FOUND_SECONDS or self._bytes + content.size > self._most_bytes:
            return False
        if len(self._since) >= self._most_files:
            return False
        self._since[content] = now
        self._bytes += content.size
        return True

    def gives(self, content: Content) -> bool:
        """Give back what is open again, or about to be closed; False if it was not kept."""
        if self._since.pop(content, None) is None:
            return False
        self._bytes -= content.size
        return True

    def idle(self, now: float) -> Sequence[Content]:
        """What was not opened again in time."""
        idle: list[Content] = []
        for content, since in self._since.items():
            if now - since < IDLE_SECONDS:
                break
            idle.append(content)
        return idle

    def in_the_way(self) -> Sequence[Content]:
        """What has to go before something comes in."""
        return self.everything() if self._bytes > self._quiet_bytes else ()

    def everything(self) -> Sequence[Content]:
        return list(self._since)

    def close(self) -> None:
        """Nothing more is kept."""
        self._most_files = 0


def bounds(quota_bytes: int | None) -> tuple[int, int, int]:
    """How many files and bytes may be kept beside a cache of this quota, and how many unnoticed."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = MOST_FILES if soft == resource.RLIM_INFINITY else min(MOST_FILES, soft // FILES_SHARE)
    if quota_bytes is None:
        return files, MOST_BYTES, 0
    return files, quota_bytes // QUOTA_SHARE, quota_bytes // QUIET_SHARE


def allow_many_files() -> None:
    """For a process that only serves mounts: as many descriptors as the share that is kept needs.

    Of the usual 1024 a quarter would be a twentieth of a folder of images.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_SHARE * MOST_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
