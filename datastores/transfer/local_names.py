"""Which keys may become which local files."""

from __future__ import annotations

import re
from pathlib import Path

from datastores import keys
from datastores.errors import DatastoresError, NameRejected
from datastores.transfer import disk

_LONGEST_NAME_BYTES = 255
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?:\..*)?\Z", re.IGNORECASE)
_FORBIDDEN = re.compile(r'[<>:"|?*\\\x00-\x1f]')


# Segments that are plain on every system: short, none of them `.` or `..`. One search instead of a
# look at each; most names are like this.
_PLAIN = re.compile(r"(?:(?!\.{1,2}(?:/|\Z))[^/\\\0:]{1,63}(?:/(?!\Z)|\Z))+\Z")


def name_hazard(root: Path, name: str, *, portable: bool) -> DatastoresError | None:
    """Why this name cannot be a file below `root`; None when it can."""
    if not _PLAIN.match(name):
        try:
            keys.local_target(root, name)
        except NameRejected as rejected:
            return rejected
    # One search for the usual case: a name with nothing of ours in it.
    if disk.MARK in (spelt := name.lower()) and any(map(disk.is_ours, spelt.split("/"))):
        rule = "the engine keeps its own state under such names; rename it in the store"
        return NameRejected("local file", name, rule)
    for segment in name.split("/"):
        # Counting bytes costs an encoding, so only names that could be too long are counted.
        if len(segment) > 63 and len(segment.encode("utf-8", "surrogateescape")) > 255:
            return NameRejected(
                "local file",
                name,
                f"a segment is longer than {_LONGEST_NAME_BYTES} bytes; rename it in the store",
            )
        if portable and (why := windows_hazard(segment)):
            return NameRejected("local file", name, f"{why}; rename it in the store")
    return None


def windows_hazard(segment: str) -> str | None:
    """Why Windows cannot hold this name; None when it can."""
    if _RESERVED.match(segment):
        return "Windows reserves it for a device"
    if _FORBIDDEN.search(segment):
        return "it holds a character that Windows forbids"
    if segment.endswith((" ", ".")):
        return "Windows drops the last character"
    return None


class Spellings:
    """Names seen so far, where names that differ only in case are one file."""

    def __init__(self) -> None:
        # Hashes, not names: a million of them are 70 MiB instead of 200.
        self._seen: dict[int, int] = {}

    def clash(self, name: str) -> NameRejected | None:
        """Why this name would overwrite an earlier one; None, and remembered, when it would not."""
        folded, exact = hash(name.casefold()), hash(name)
        if self._seen.setdefault(folded, exact) == exact:
            return None
        return NameRejected(
            "local file",
            name,
            "another name differs only in case and this folder holds one; rename it in the store",
        )
