"""`python -m mount.host FOLDER`: a host that reads its order from stdin and lets go of its caller.

The first line on stdout tells the supervisor's process id, the second how the start went.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from mount.fs.kept import allow_many_files
from mount.host.keeper import keep
from mount.host.order import order_from_json
from mount.logs import line_formatter


def main() -> None:
    """Read, detach, and keep the mount."""
    order = order_from_json(sys.stdin.buffer.read())
    child = os.fork()
    if child:
        # Whoever waits for this process has its answer in the pipe.
        os.write(1, f"{child}\n".encode())
        os._exit(0)
    os.setsid()
    os.chdir("/")
    ready_fd = os.dup(1)
    os.set_inheritable(ready_fd, False)
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1):
        os.dup2(nothing, fd)
    os.close(nothing)
    _log()
    allow_many_files()
    keep(order, Path(sys.argv[1]), ready_fd)


def _log() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(line_formatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for noisy in ("azure", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


if __name__ == "__main__":
    main()
