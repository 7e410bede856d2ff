"""Runs one case in several folders, each time in a process of its own.

Usage: python -m tests.mount.posix.probing MODULE CASE FOLDER...
Prints what each folder answered, as a list of lists of notes.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback

from tests.mount.posix.calls import Calls

UMASK = 0o022


def main(module: str, name: str, folders: list[str]) -> None:
    """Print what the calls of a case came to in each folder."""
    print(json.dumps([answers(module, name, folder) for folder in folders]))  # noqa: T201 - its output


def answers(module: str, name: str, folder: str) -> list[str]:
    """A child's notes: what it leaves open, where it stands and who it is ends with it."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        with os.fdopen(write_end, "w") as back:
            json.dump(notes(module, name, folder), back)
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as back:
        said = back.read()
    _, status = os.waitpid(child, 0)
    found: list[str] = json.loads(said) if said else [f"ended with {status}"]
    return found


def notes(module: str, name: str, folder: str) -> list[str]:
    calls = Calls()
    try:
        case = getattr(importlib.import_module(module), name)
        os.umask(UMASK)
        os.chdir(folder)
        case(calls)
    except BaseException:  # noqa: BLE001 - a case that breaks is an answer like any other
        last = traceback.format_exc().splitlines()
        calls.notes.append("\n".join(["broken", *last[-5:]]))
    return calls.notes


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
