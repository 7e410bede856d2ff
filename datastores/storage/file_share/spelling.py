"""Which keys a share can hold, and the names that are this package's own."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping

from datastores import keys
from datastores.errors import Unsupported

LONGEST_KEY = 2048
LONGEST_NAME = 255

# Far beyond the patience for one request and the difference of two clocks.
STALE_SECONDS = 3600
DEEPEST = 250

# The service's rules for names: the characters of Windows, controls, and what XML cannot carry.
_REFUSED = re.compile('["\\\\:|<>*?\x00-\x1f\x81\ud800-\udfff\ufffe\uffff]')
TEMPORARY_START = ".~datastores-"
_TEMPORARY = re.compile(re.escape(TEMPORARY_START) + r"[0-9a-f]{32}\Z")
_METADATA_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_METADATA_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?\Z")


def unholdable(key: str) -> str | None:
    """Why no file or folder can have this key; None when one can."""
    if not key:
        return "a key cannot be empty; name the file"
    if len(key) > LONGEST_KEY:
        return f"the key has {len(key)} characters and {LONGEST_KEY} is the limit; shorten it"
    names = key.split("/")
    if len(names) > DEEPEST:
        return f"it is {len(names)} folders deep and {DEEPEST} is the limit; use fewer"
    return next((reason for reason in map(_unholdable_name, names) if reason), None)


def _unholdable_name(name: str) -> str | None:
    refused = _REFUSED.search(name)
    if refused:
        shown = refused[0] if refused[0].isprintable() else f"\\u{ord(refused[0]):04x}"
        return f'file shares refuse the character "{shown}" in names; choose a name without it'
    rules = {
        'file shares refuse "/" at the start, at the end and doubled; leave it out': not name,
        'file shares refuse the names "." and ".."; choose another': name in (".", ".."),
        'file shares refuse the character " " at the end of a name; leave it out': name[-1:] == " ",
        f"a name in it is longer than {LONGEST_NAME} characters; shorten it": (
            len(name) > LONGEST_NAME
        ),
        "names of unfinished uploads look like this; choose another": is_temporary(name),
    }
    return next((reason for reason, is_broken in rules.items() if is_broken), None)


def must_hold(label: str, key: str) -> None:
    """`Unsupported` for a key that no file can have."""
    reason = unholdable(key)
    if reason:
        raise Unsupported(label, key, reason)


def can_begin(prefix: str) -> bool:
    """Whether any key a share can hold starts with this text."""
    folder, name = keys.parent(prefix), keys.basename(prefix)
    if (folder and unholdable(folder)) or prefix.startswith("/"):
        return False
    return len(name) <= LONGEST_NAME and not _REFUSED.search(name)


def must_carry(label: str, key: str, metadata: Mapping[str, str]) -> None:
    """`Unsupported` for metadata that headers cannot carry unchanged."""
    for name, value in metadata.items():
        if not _METADATA_NAME.match(name):
            reason = f'metadata name "{name}" is not an identifier; use letters, digits and "_"'
            raise Unsupported(label, key, reason)
        if not _METADATA_VALUE.match(value):
            reason = f'the value of metadata "{name}" is not plain ASCII text; encode it first'
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
