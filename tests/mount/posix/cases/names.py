"""Names: their length, their letters, and links."""

# Bare system calls are what is tested here.
# ruff: noqa: PTH102, PTH108, PTH115, PTH208, PTH211

from __future__ import annotations

import os

from tests.mount.posix.calls import Calls, got, put, tree

LONGEST = 255
# Each of them hurts some store or some tool: what a URL, a shell, XML or another system would
# read differently.
HURTING = (
    "with space",
    " before",
    "after ",
    "line\nbreak",
    "tab\there",
    "trailing.",
    "trailing...",
    "...",
    ".hidden",
    "-rf",
    "--",
    "~",
    "*",
    "?",
    "a?b=c&d=e",
    "#fragment",
    "100%",
    "%41",
    "%2f",
    "%",
    "quo\"te's",
    "<&>",
    "semi;colon",
    "co:lon",
    "CON",
    "a+b",
    "{x}[y](z)|^`$!",
    "@,=",
    "ä",
    "a\u0308",
    "日本語",
    "😀",
    "\u200bzero",
    "\u202eright",
    "UPPER",
    "upper",
    "ß",
    "..dots",
    "e\u0301" * 50,
)


def names_that_hurt(do: Calls) -> None:
    """Files with awkward names are made, listed, read, renamed and removed under exactly these."""
    for name in HURTING:
        do(put, name, name.encode())
    do(tree)
    for name in HURTING:
        do(os.rename, name, name + "x")
        do(got, name + "x")
    do(tree)
    for name in HURTING:
        do(os.unlink, name + "x")
    do(os.listdir)


def folder_names_that_hurt(do: Calls) -> None:
    """Folders with awkward names hold files, are renamed and removed."""
    for name in HURTING:
        do(os.mkdir, name)
        do(put, f"{name}/f", name.encode())
    do(tree)
    for name in HURTING[::3]:
        do(os.rename, name, name + "x")
        do(got, f"{name}x/f")
    for name in HURTING[1::3]:
        do(os.unlink, f"{name}/f")
        do(os.rmdir, name)
    do(tree)


def long_names(do: Calls) -> None:
    """A name of 255 bytes works everywhere, one of 256 is ENAMETOOLONG everywhere."""
    for length in (LONGEST, LONGEST + 1):
        name = "n" * length
        do(put, name, b"long")
        do(os.stat, name)
        do(os.unlink, name)
        do(os.mkdir, name)
        do(os.listdir)
        do(os.rmdir, name)
        do(os.symlink, "x", name)
        do(os.readlink, name)
        put("f")
        do(os.rename, "f", name)
        do(os.rename, name, "f")
        do(os.truncate, name, 0)
        do(os.stat, f"no/{name}")
        do(os.open, f"f/{name}", os.O_RDONLY)
        do(tree)
        for left in os.listdir():
            os.unlink(left)


def long_names_in_other_letters(do: Calls) -> None:
    """The limit counts bytes: 85 letters of three bytes fit, one more does not."""
    for count in (85, 86):
        name = "日" * count
        do(put, name, b"x")
        do(os.mkdir, name + "x" * (count - 85))
    do(lambda: [len(name) for name in os.listdir()])


def long_paths(do: Calls) -> None:
    """A path longer than 4096 bytes is ENAMETOOLONG."""
    do(os.stat, "a/" * 2048 + "f")
    do(os.open, "./" * 2048, os.O_RDONLY)
    do(os.mkdir, "x" * 5000)
    do(os.symlink, "x" * 4095, "longest")
    do(os.symlink, "x" * 4096, "too_long")
    do(lambda: len(os.readlink("longest")))


def links(do: Calls) -> None:
    """Links say what they were told, are followed, and are no copies of what they name."""
    put("f", b"1")
    os.mkdir("d")
    put("d/x", b"2")
    for target, name in (
        ("f", "to_file"),
        ("d", "to_folder"),
        ("nothing", "dangling"),
        ("../away", "outward"),
        ("/absolute/path", "absolute"),
        ("to_file", "to_link"),
        ("ä\n ", "odd"),
        (".", "here"),
    ):
        do(os.symlink, target, name)
        do(os.readlink, name)
        do(os.lstat, name)
    do(os.symlink, "x", "f")
    do(os.symlink, "x", "dangling")
    do(os.symlink, "", "empty")
    do(os.symlink, "x", "no/link")
    for name in ("f", "d", "no"):
        do(os.readlink, name)
    do(got, "to_link")
    do(got, "to_folder/x")
    do(got, "here/here/to_folder/x")
    do(os.stat, "dangling")
    do(os.stat, "to_folder/")
    do(put, "to_link", b"changed")
    do(got, "f")
    do(os.unlink, "to_link")
    do(os.rename, "to_file", "renamed")
    do(os.readlink, "renamed")
    do(tree)


def file_on_the_way(do: Calls) -> None:
    """Every call that has a file as a folder in its path is ENOTDIR."""
    put("f", b"1")
    put("g", b"2")
    os.symlink("f", "link")
    for way in ("f/x", "link/x", "f/x/y", "f/."):
        do(os.stat, way)
        do(os.open, way, os.O_RDONLY)
        do(os.mkdir, way)
        do(os.rmdir, way)
        do(os.unlink, way)
        do(os.rename, "g", way)
        do(os.rename, way, "h")
        do(os.symlink, "x", way)
        do(os.readlink, way)
        do(os.chmod, way, 0o600)
        do(os.utime, way)
        do(os.truncate, way, 0)
        do(os.listdir, way)
        do(os.access, way, os.F_OK)
    do(tree)


def letters_are_told_apart(do: Calls) -> None:
    """Names that differ only in case, or only in how a letter is composed, are two files."""
    for name in ("File", "file", "FILE", "\u00e9", "e\u0301"):
        do(put, name, name.encode())
    for name in ("File", "file", "FILE", "\u00e9", "e\u0301", "fILE"):
        do(got, name)
    do(lambda: sorted(os.listdir()))
