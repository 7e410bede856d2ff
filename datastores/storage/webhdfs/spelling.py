"""Which keys the store can hold, and the names that are this package's own."""

from __future__ import annotations

import re
import uuid

from datastores import keys
from datastores.errors import Unsupported

LONGEST_KEY = 4000
LONGEST_NAME = 255

# Far beyond the patience for one request and the difference of two clocks.
STALE_SECONDS = 3600

# HDFS keeps the colon for itself; the service ran on Windows paths; the rest breaks addresses.
_REFUSED = re.compile("[:\\\\\x00-\x1f\x7f\ud800-\udfff]")
TEMPORARY_START = ".~datastores-"
_TEMPORARY = re.compile(re.escape(TEMPORARY_START) + r"[0-9a-f]{32}\Z")


def unholdable(key: str) -> str | None:
    """Why no file or folder can have this key; None when one can."""
    refused = _REFUSED.search(key)
    if refused:
        shown = refused[0] if refused[0].isprintable() else f"\\u{ord(refused[0]):04x}"
        return f'the store refuses the character "{shown}" in names; choose a name without it'
    if len(key) > LONGEST_KEY:
        return f"the key has {len(key)} characters and {LONGEST_KEY} is the limit; shorten it"
    names = key.split("/")
    if "" in names or "." in names or ".." in names:
        return 'the store refuses the names "", "." and ".."; leave them out'
    if any(len(name) > LONGEST_NAME for name in names):
        return f"a name in it is longer than {LONGEST_NAME} characters; shorten it"
    if is_temporary(names[-1]):
        return "names of unfinished uploads look like this; choose another"
    return None


def must_hold(label: str, key: str) -> None:
    """`Unsupported` for a key that no file can have."""
    reason = unholdable(key)
    if reason:
        raise Unsupported(label, key, reason)


def temporary_beside(key: str) -> str:
    """A new hidden name in the same folder, for bytes that are not complete yet."""
    return keys.join(keys.parent(key), f"{TEMPORARY_START}{uuid.uuid4().hex}")


def is_temporary(name: str) -> bool:
    """Whether a name was made by `temporary_beside`."""
    return _TEMPORARY.match(name) is not None


def is_stale(modified_ns: int | None, now_ns: int) -> bool:
    """Whether an unfinished upload was last written so long ago that nobody is at it any more."""
    return modified_ns is not None and now_ns - modified_ns > STALE_SECONDS * 1_000_000_000
