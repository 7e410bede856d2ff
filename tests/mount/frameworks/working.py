"""Does pieces of work of frameworks, each in a child of its own.

Usage: python -m tests.mount.frameworks.working
Reads orders from standard input, a line of JSON each: the file for what the work says, its module
and function, a mount to work in (`here`), another mount of the same store to check what arrived
(`there`), and a local folder (`scratch`). Answers each with how the child ended.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

# Two seconds of every child's time otherwise.
AT_HAND = ("torch", "torch.distributed.checkpoint", "pandas", "pyarrow.dataset")
LIMIT_SECONDS = 90


@dataclass(frozen=True, slots=True)
class Places:
    """Where a piece of work finds and leaves things."""

    here: Path
    there: Path
    scratch: Path


def names(folder: Path) -> list[str]:
    """What a folder lists, sorted."""
    return sorted(path.name for path in folder.iterdir())


def main() -> None:
    """Do what is ordered until the orders end."""
    for name in AT_HAND:
        importlib.import_module(name)
    for line in sys.stdin:
        log, module, function, *places = json.loads(line)
        child = os.fork()
        if child == 0:
            work(log, module, function, Places(*map(Path, places)))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201 - the answer


def work(log: str, module: str, function: str, places: Places) -> None:
    """In the child: the work, then the end of the process."""
    signal.alarm(LIMIT_SECONDS)
    said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for old, new in ((nothing, 0), (said, 1), (said, 2)):
        os.dup2(old, new)
    os.environ.update(HOME=str(places.scratch), TMPDIR=str(places.scratch))
    try:
        getattr(importlib.import_module(f"tests.mount.frameworks.work.{module}"), function)(places)
    except BaseException:  # noqa: BLE001 - whatever it is, the log shows it
        traceback.print_exc()
        os._exit(1)
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
