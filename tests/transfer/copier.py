"""A process that copies, for tests that kill it: `python -m tests.transfer.copier VERB FROM TO`.

Prints a line for every piece that is in place and `done` after the last, so that a killer can
strike at any point of the run and knows where it struck.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from datastores.storage.local import LocalStore
from datastores.transfer import Limits, Options, Silent, download, upload
from tests.transfer.slow_store import SlowStore


class Telling(Silent):
    """A line per piece; whole lines in one write, so threads do not mix them."""

    def moved(self, name: str, size: int) -> None:
        os.write(1, f"{name} {size}\n".encode())


def main(verb: str, source: str, target: str) -> None:
    options = Options(limits=Limits(streams=4), small_bytes=1 << 20)
    watcher = Telling()
    if verb == "download":
        download(
            SlowStore(LocalStore("s", Path(source))),
            "",
            Path(target),
            options=options,
            watcher=watcher,
        )
    else:
        upload(
            SlowStore(LocalStore("t", Path(target))),
            Path(source),
            "",
            options=options,
            watcher=watcher,
        )
    os.write(1, b"done\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
