"""Which keys a container can hold."""

from __future__ import annotations

import re

from datastores.errors import Unsupported

LONGEST_KEY = 1024

# What XML 1.0 cannot say: one such blob makes Azurite's listing of the whole container fail, and
# a carriage return comes back from any XML parser as a newline.
_UNLISTABLE = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]")
_DOT_SEGMENT = re.compile(r"(?:^|/)\.{1,2}(?:/|\Z)")


def unholdable(key: str) -> str | None:
    """Why no blob can have this key; None when one can."""
    if not key:
        return "a key cannot be empty; name the object"
    if "\\" in key:
        # The service itself does this, to every request, on Azure and in Azurite.
        return 'Azure turns every "\\" of a name into "/"; choose a name without it'
    if _DOT_SEGMENT.search(key):
        return 'addresses lose the segments "." and ".."; choose a name without them'
    if len(key) > LONGEST_KEY:
        return f"the key has {len(key)} characters and {LONGEST_KEY} is the limit; shorten it"
    if _UNLISTABLE.search(key):
        return "it holds a character that listings cannot carry; choose a name without it"
    return None


def must_hold(label: str, key: str) -> None:
    """`Unsupported` for a key that no blob can have."""
    reason = unholdable(key)
    if reason:
        raise Unsupported(label, key, reason)
