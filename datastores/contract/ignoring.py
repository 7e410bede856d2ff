"""Which files of a source folder stay at home: the rules of `.amlignore`, or of `.gitignore`."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from datastores.errors import ConfigRejected, DefinitionRejected
from datastores.value import Value

# The first of them that is there counts, as in Azure ML.
FILES = (".amlignore", ".gitignore")


class Rule(Value):
    """One line: what it fits, and whether that stays at home or comes along after all."""

    pattern: re.Pattern[str]
    is_kept: bool
    folders_only: bool


def load_rules(folder: Path) -> tuple[Rule, ...]:
    """The rules of a source folder; none where it has no such file."""
    for name in FILES:
        file = folder / name
        if file.is_file():
            try:
                return parse_rules(file.read_text(encoding="utf-8"))
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigRejected(
                    str(file), f"cannot be read ({error}); correct it, or remove it"
                ) from error
    return ()


def parse_rules(text: str) -> tuple[Rule, ...]:
    """The rules of a text, in git's notation."""
    lines = (line.rstrip() for line in text.splitlines())
    return tuple(_rule(line) for line in lines if line.strip("!/") and not line.startswith("#"))


def stays(rules: tuple[Rule, ...], name: str, *, is_folder: bool) -> bool:
    """Whether the last rule that fits leaves this out; what is in such a folder stays with it."""
    for rule in reversed(rules):
        if (is_folder or not rule.folders_only) and rule.pattern.fullmatch(name):
            return not rule.is_kept
    return False


def is_left_out(rules: tuple[Rule, ...], name: str) -> bool:
    """Whether this file stays at home, by a rule of its own or with a folder above it."""
    parts = name.split("/")
    above = ("/".join(parts[:count]) for count in range(1, len(parts)))
    return any(stays(rules, one, is_folder=True) for one in above) or stays(
        rules, name, is_folder=False
    )


def refuse_left_out(folder: Path, script: str) -> None:
    """`DefinitionRejected` for an entry script that stays at home by the rules of its folder."""
    script = posixpath.normpath(script)
    if is_left_out(load_rules(folder), script):
        names = " or ".join(f'"{name}"' for name in FILES)
        raise DefinitionRejected(
            "run",
            f'the entry script "{script}" is not sent with the source folder, because '
            f"{names} there leaves it out; add a line !{script}",
        )


def files_below(folder: Path) -> Iterator[str]:
    """The files that come along, by their names below the folder, in order."""
    rules = load_rules(folder)
    for where, folders, files in os.walk(folder):
        here = Path(where).relative_to(folder)
        folders[:] = sorted(
            name for name in folders if not stays(rules, (here / name).as_posix(), is_folder=True)
        )
        for name in sorted(files):
            below = (here / name).as_posix()
            # Links that lead nowhere, pipes and sockets are no files to send.
            if (folder / below).is_file() and not stays(rules, below, is_folder=False):
                yield below


def _rule(line: str) -> Rule:
    is_kept = line.startswith("!")
    text = line.removeprefix("!").removeprefix("\\")
    folders_only = text.endswith("/")
    text = text.rstrip("/")
    # A slash inside ties a pattern to the top; without one it fits at any depth.
    is_tied = "/" in text
    expression = "".join(_pieces(text.removeprefix("/")))
    return Rule(re.compile(("" if is_tied else "(?:.*/)?") + expression), is_kept, folders_only)


def _pieces(text: str) -> Iterator[str]:
    for token in re.findall(r"^\*\*/|/\*\*/|/\*\*$|\*+|\?|\[[^\]]+\]|\\.|.", text, re.DOTALL):
        match token:
            case "**/":
                yield "(?:.*/)?"
            case "/**/":
                yield "/(?:.*/)?"
            case "/**":
                yield "/.+"
            case "?":
                yield "[^/]"
            case _ if token.startswith("*"):
                yield "[^/]*"
            case _ if token.startswith("[") and len(token) > 1:
                inside = token[1:-1].replace("\\", "\\\\")
                yield f"[^{inside[1:]}]" if inside.startswith("!") else f"[{inside}]"
            case _:
                yield re.escape(token[-1])
