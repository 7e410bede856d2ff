"""Text that came from elsewhere, as a terminal may see it."""

from __future__ import annotations


def printable(name: str) -> str:
    """A name whose control characters show as escapes, as `ls -b` does."""
    return name if name.isprintable() else "".join(map(_shown, name))


def printable_lines(text: str) -> str:
    """The same for text of several lines."""
    return text if text.isprintable() else "\n".join(map(printable, text.split("\n")))


def _shown(char: str) -> str:
    return char if char.isprintable() else char.encode("unicode_escape").decode()
