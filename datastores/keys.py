"""Places inside a store, and the local files they may become."""

from __future__ import annotations

import os
import re
from pathlib import Path

from datastores.errors import NameRejected

_LEADING = re.compile(r"(?:\.?[/\\])+")
_DRIVE = re.compile(r"[a-zA-Z]:")


def parse_place(text: str | None) -> str:
    """The one spelling of a place: `/bar`, `./bar`, `bar` and `bar/` are all `bar`; the root is ''.

    Doubled slashes inside stay, because `a//b` and `a/b` are two blobs.
    """
    if text is None:
        return ""
    if "\0" in text:
        raise NameRejected("place", text, "it holds a NUL character")
    leading = _LEADING.match(text)
    text = text[leading.end() :] if leading else text
    segments = [segment for segment in text.rstrip("/").split("/") if segment != "."]
    if ".." in segments:
        raise NameRejected("place", text, 'it climbs with ".."; name the place from the root')
    return "/".join(segments)


def join(place: str, *more: str) -> str:
    """Places joined by single slashes, empty ones left out."""
    return "/".join(part for part in (place, *more) if part)


def parent(key: str) -> str:
    """The folder a key is in; '' at the root."""
    return key.rpartition("/")[0]


def basename(key: str) -> str:
    """The last segment of a key."""
    return key.rpartition("/")[2]


def relative(key: str, place: str) -> str:
    """What is left of a key below a place; the file's own name when the place is the file."""
    if not place:
        return key
    if key == place:
        return basename(key)
    if key.startswith(place + "/"):
        return key[len(place) + 1 :]
    raise ValueError(f"{key!r} is not below {place!r}")


def is_below(key: str, place: str) -> bool:
    """Whether a key is the place or inside it; `foobar` is not below `foo`."""
    return not place or key == place or key.startswith(place + "/")


def local_target(root: Path, key: str) -> Path:
    """The file below `root` that a key becomes; a key that would leave `root` is refused."""
    segments = key.split("/")
    for segment in segments:
        if segment == "..":
            raise NameRejected("local file", key, "it would leave the target folder")
        if segment in ("", "."):
            raise NameRejected("local file", key, "it has an empty segment; rename it in the store")
        if "\0" in segment:
            raise NameRejected("local file", key, "it holds a NUL character")
    if "\\" in key and _is_windows():
        raise NameRejected("local file", key, "a backslash separates folders on this system")
    if _is_windows() and _DRIVE.match(key):
        raise NameRejected("local file", key, "it names a drive")
    return root.joinpath(*segments)


def _is_windows() -> bool:
    return os.name == "nt"
