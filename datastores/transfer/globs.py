"""Which names a transfer is about."""

from __future__ import annotations

import re
from collections.abc import Sequence

from datastores.value import Value


class Globs(Value):
    """Include and exclude patterns over names relative to the place.

    `*` and `?` stay inside one folder, `**` crosses folders, `[a-c]` is one character. A pattern
    without a slash is tried against the last segment too, so `*.tmp` means every such file; a
    pattern that names a folder means everything in it. Exclusion wins.
    """

    include: re.Pattern[str] | None
    exclude: re.Pattern[str] | None

    @classmethod
    def compile(cls, include: Sequence[str], exclude: Sequence[str]) -> Globs:
        return cls(_any(include), _any(exclude))

    def admits(self, name: str) -> bool:
        """Whether a file of this name takes part."""
        if self.include is not None and not self.include.match(name):
            return False
        return self.exclude is None or not self.exclude.match(name)


def _any(patterns: Sequence[str]) -> re.Pattern[str] | None:
    if not patterns:
        return None
    return re.compile("|".join(_translate(pattern) for pattern in patterns), re.DOTALL)


def _translate(pattern: str) -> str:
    pattern = pattern.removeprefix("./")
    anchored = "/" in pattern.rstrip("/")
    body = _segments(pattern.strip("/"))
    lead = "" if anchored else "(?:.*/)?"
    return rf"(?:{lead}{body}(?:/.*)?\Z)"


def _segments(pattern: str) -> str:
    out: list[str] = []
    at = 0
    while at < len(pattern):
        if pattern.startswith("**/", at):
            out.append("(?:.*/)?")
            at += 3
        elif pattern.startswith("**", at):
            out.append(".*")
            at += 2
        elif pattern[at] == "*":
            out.append("[^/]*")
            at += 1
        elif pattern[at] == "?":
            out.append("[^/]")
            at += 1
        elif pattern[at] == "[" and (end := _end_of_set(pattern, at)) > 0:
            out.append(_set(pattern[at + 1 : end]))
            at = end + 1
        else:
            out.append(re.escape(pattern[at]))
            at += 1
    return "".join(out)


def _end_of_set(pattern: str, at: int) -> int:
    # A bracket directly after the opening, or after its negation, is one of the characters.
    return pattern.find("]", at + (3 if pattern[at + 1 : at + 2] in ("!", "^") else 2))


def _set(inside: str) -> str:
    negated = inside[0] in "!^"
    body = inside[1:] if negated else inside
    escaped = body.replace("\\", r"\\").replace("[", r"\[").replace("&", r"\&").replace("~", r"\~")
    escaped = escaped.replace("|", r"\|").replace("]", r"\]").replace("^", r"\^")
    if not _orderly(body):
        escaped = escaped.replace("-", r"\-")
    return f"(?!/)[{'^' if negated else ''}{escaped}]"


def _orderly(body: str) -> bool:
    # A range that runs backwards, or has no end, is taken as plain characters.
    return all(
        0 < at < len(body) - 1 and body[at - 1] <= body[at + 1] and body[at + 1] != "-"
        for at, character in enumerate(body)
        if character == "-"
    )
